import { parseCommand } from "./parse-command.js";
import { readingPrograms } from "./reading-programs.js";
import { scriptCommand } from "./script-command.js";

const READERS: ReadonlySet<string> = new Set([...readingPrograms, "cd"]);

/**
 * What running a line in a shell can do to its sandbox: `reads` changes no file, `changes` may change files, but nothing else that a later
 * command could see; both move the shell at most to another directory. Such are the lines of the closed command language, as written or
 * as rendered, and those of `scriptCommand`. Of any other line nothing is known.
 */
export function lineEffect(line: string, cwd: string): "reads" | "changes" | "unknown" {
  const script = /exec "\$BASH" (\S+) \)$/.exec(line)?.[1];
  if (script !== undefined) {
    const known = line === scriptCommand(script) && parseCommand(`cat ${script}`, { cwd }).ok;
    return known ? "changes" : "unknown";
  }
  // Rendered so that a redirection opens first.
  const plain = line.replace(/^\{ (.*); \} (>>? \S+)$/, "$1 $2");
  if (!parseCommand(plain, { cwd }).ok) return "unknown";
  const reads = plain
    .split("|")
    .every((stage) => !stage.includes(">") && READERS.has(stage.trim().split(" ")[0] ?? ""));
  return reads ? "reads" : "changes";
}
