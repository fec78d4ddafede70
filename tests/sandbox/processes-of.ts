import { readdirSync, readFileSync } from "node:fs";

/** Living processes of this machine whose command line contains `text`: pid and command line. */
export function processesOf(text: string): string[] {
  const found: string[] = [];
  for (const entry of readdirSync("/proc")) {
    if (!/^[0-9]+$/.test(entry)) continue;
    try {
      const line = readFileSync(`/proc/${entry}/cmdline`, "utf8").replaceAll("\0", " ");
      // A zombie has no command line.
      if (line.includes(text)) found.push(`${entry} ${line.slice(0, 120)}`);
    } catch {
      // It ended meanwhile.
    }
  }
  return found;
}
