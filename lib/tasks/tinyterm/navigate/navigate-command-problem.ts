import { findCommandProblem } from "../find/find-command-problem.js";

/** Why a command of the closed language is refused in this family, or undefined: as in `find`, but files named `here` may be made. */
export function navigateCommandProblem(action: string): string | undefined {
  const [program, ...operands] = action.split(" ").filter((word) => word !== "");
  if (program !== "touch") return findCommandProblem(action);
  return operands.every((path) => /^(?!-)(.*\/)?here$/.test(path)) ? undefined : "not allowed";
}
