const PROGRAMS = ["cat", "cd", "find", "grep", "ls", "pwd", "submit", "wc"];

/**
 * Why a command of the closed language is refused in this family, or undefined. Pipes, programs that change files and all flags but those
 * of `grep -c WORD PATH` and `wc -l PATH` are left out, so that `countObservationFloor` knows what the answers are worth.
 */
export function countCommandProblem(action: string): string | undefined {
  const [program, ...rest] = action.split(" ").filter((word) => word !== "");
  const flags = rest.filter((word) => word.startsWith("-"));
  const operands = rest.length - flags.length;
  if (!PROGRAMS.includes(program) || /[|>]/.test(action)) return "not allowed";
  if (program === "grep")
    return flags.every((flag) => flag === "-c") && operands === 2 ? undefined : "not allowed";
  if (program === "wc") return flags.join(" ") === "-l" && operands === 1 ? undefined : "not allowed";
  if (flags.length > 0) return "not allowed";
  // Without a file, cat would read from nowhere.
  return program === "cat" && operands === 0 ? "not allowed" : undefined;
}
