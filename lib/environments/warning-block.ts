import type { Segment } from "../tokens/segment.js";

/**
 * The format warnings that come before the output of an action that was understood and run: a `WARNINGS:` line, one line for each,
 * an empty line. No segment without warnings.
 */
export function warningBlock(warnings: readonly string[]): Segment[] {
  if (warnings.length === 0) return [];
  return [{ text: `WARNINGS:\n${warnings.map((each) => `- ${each}\n`).join("")}\n`, role: "warning" }];
}
