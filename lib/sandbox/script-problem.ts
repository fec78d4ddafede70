import { parseCommand } from "./parse-command.js";
import { readingPrograms } from "./reading-programs.js";

/** Most bytes of a script that the task did not write. */
export const maxScriptBytes = 1024;

/**
 * Why a script may not run, or undefined. It may when it is byte for byte what the task wrote, or when every line of it is a command of the
 * closed language that only reads. Bash then reads the file itself, so a line must be written exactly as the language renders it.
 * @param content the file as it is now.
 * @param written what the task wrote there.
 */
export function scriptProblem(content: Uint8Array, written: string): string | undefined {
  const refused = "bash: script not allowed";
  const bytes = Buffer.from(content);
  if (bytes.equals(Buffer.from(written))) return undefined;
  if (bytes.length > maxScriptBytes) return refused;
  // As latin1 every byte is one character, so nothing is lost before the check.
  const lines = bytes.toString("latin1").replace(/\n$/, "").split("\n");
  return lines.every(onlyReads) ? undefined : refused;
}

function onlyReads(line: string): boolean {
  if (line.includes(">")) return false;
  // A path that stays inside the task seen from its root does so from everywhere in it.
  const parsed = parseCommand(line, { cwd: "" });
  return (
    parsed.ok &&
    parsed.line === line &&
    line.split(" | ").every((stage) => readingPrograms.includes(stage.split(" ")[0] ?? ""))
  );
}
