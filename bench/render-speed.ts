import type { BenchTable } from "./bench-table.js";
import { sandboxSummary } from "./sandbox-summary.js";
import type { BenchResults } from "./write-results.js";

/** The README's table: what every benchmark has to say in a line. */
export function renderSpeed({ date, machine, tables }: BenchResults): string {
  const lines = tables.flatMap((table) => summaryOf(table));
  const { cores, cpu, isa, node, threads } = machine;
  return [
    `From \`npm run bench\` on ${cores} cores of ${cpu} (${isa}, ${threads} threads), Node ${node.replace(/^v/, "").split(".")[0]}, ${date}; ratios are of this one run, with as many threads on both sides; all tables in [docs/benchmarks.md](docs/benchmarks.md).`,
    "",
    "| what | measured | for comparison |",
    "|---|---|---|",
    ...lines.map((line) => `| ${line.join(" | ")} |`),
  ].join("\n");
}

function summaryOf(table: BenchTable): [string, string, string][] {
  return table.summary ?? (table.title === "Local sandbox" ? sandboxSummary(table) : []);
}
