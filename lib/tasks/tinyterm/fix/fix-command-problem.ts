import { resolveInside } from "../../../sandbox/resolve-inside.js";
import { scriptProblem } from "../../../sandbox/script-problem.js";

const PROGRAMS = ["bash", "cat", "cd", "echo", "find", "ls", "pwd", "submit"];

/**
 * Why a command of the closed language is refused in this family, or undefined. There are no flags and no pipes; `echo` writes to `run`, and
 * only what may run, and does nothing else; `check` may be run, not read.
 */
export function fixCommandProblem(action: string, cwd: string): string | undefined {
  const resolve = (path: string): string => (resolveInside(cwd, path) ?? []).join("/");
  const [command = "", ...targets] = action.split(">");
  const [program, ...rest] = command.split(" ").filter((word) => word !== "");
  if (!PROGRAMS.includes(program) || action.includes("|")) return "not allowed";
  if (rest.some((word) => word.startsWith("-"))) return "not allowed";
  if (program === "echo") {
    const mayRun = scriptProblem(Buffer.from(`${rest.join(" ")}\n`), "") === undefined;
    return mayRun && targets.length === 1 && resolve(targets[0].trim()) === "run" ? undefined : "not allowed";
  }
  if (targets.length > 0) return "not allowed";
  // Without a file, cat would read from nowhere.
  if (program === "cat" && (rest.length === 0 || rest.some((path) => resolve(path) === "check")))
    return "not allowed";
  return undefined;
}
