import { parseCommand } from "./parse-command.js";
import { readingPrograms } from "./reading-programs.js";

const READERS: ReadonlySet<string> = new Set([...readingPrograms, "cd"]);

/** Is this a line of the closed command language that changes no file? `cd` moves the shell, which the result says. */
export function readsOnly(line: string, cwd: string): boolean {
  if (line.includes(">") || !parseCommand(line, { cwd }).ok) return false;
  return line.split("|").every((stage) => READERS.has(stage.trim().split(" ")[0] ?? ""));
}
