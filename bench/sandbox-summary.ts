import type { BenchTable } from "./bench-table.js";

/** The README's line on the sandbox, from its table. */
export function sandboxSummary({ columns, rows }: BenchTable): [string, string, string][] {
  const value = (what: string, column: string): string => {
    const number = rows.find(([name]) => name === what)?.[columns.indexOf(column)];
    if (typeof number !== "number")
      throw new Error(`[bench] the sandbox's table has no "${column}" of "${what}".`);
    return column === "per second"
      ? (Math.round(number / 1000) * 1000).toLocaleString("en-US")
      : number.toPrecision(2);
  };
  const cpu = (what: string): string => value(what, "CPU-ms each");
  return [
    [
      "a command in the sandbox",
      `\`ls\` ${cpu("exec ls")}, \`cat\` ${cpu("exec cat f.txt")} CPU-ms; builtins ${value("exec echo (builtin)", "per second")}/s`,
      `plain bash loop: ${cpu("plain bash loop, ls")}, ${cpu("plain bash loop, cat")}`,
    ],
  ];
}
