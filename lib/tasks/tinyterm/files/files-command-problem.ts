import { findCommandProblem } from "../find/find-command-problem.js";

/** Why a command of the closed language is refused in this family, or undefined: as in `find`, but one thing may be moved or copied. */
export function filesCommandProblem(action: string): string | undefined {
  const [program, ...operands] = action.split(" ").filter((word) => word !== "");
  if (program !== "mv" && program !== "cp") return findCommandProblem(action);
  return operands.length === 2 && operands.every((path) => /^[^->|]/.test(path)) ? undefined : "not allowed";
}
