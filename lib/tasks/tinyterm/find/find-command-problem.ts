const PROGRAMS = ["cat", "cd", "find", "ls", "pwd", "submit"];

/**
 * Why a command of the closed language is refused in this family, or undefined. Flags, pipes and programs that change files are left
 * out, so that `findObservationFloor` knows what every answer is worth.
 */
export function findCommandProblem(action: string): string | undefined {
  const [program, ...rest] = action.split(" ").filter((word) => word !== "");
  if (!PROGRAMS.includes(program)) return "not allowed";
  if (/[|>]/.test(action) || rest.some((word) => word.startsWith("-"))) return "not allowed";
  // Without a file, cat would read from nowhere.
  return program === "cat" && rest.length === 0 ? "not allowed" : undefined;
}
