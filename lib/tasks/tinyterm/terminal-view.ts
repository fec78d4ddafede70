import type { Segment } from "../../tokens/segment.js";
import { NAME_POOLS } from "./name-pools.js";

const DIRECTORY_NAMES: ReadonlySet<string> = new Set(
  Object.values(NAME_POOLS).flatMap((pool) => pool.directories),
);

/** What a scripted agent has learned from a terminal's answers, and from nothing else. */
export class TerminalView {
  /** Relative to the root, "" is the root. */
  cwd = "";
  /** Names by listed directory. */
  readonly listings = new Map<string, readonly string[]>();
  /** Words by path, in the order in which they were read. */
  readonly words = new Map<string, string>();
  /** Whether the last action was run and succeeded. */
  succeeded = true;

  /** Takes in the answer to an action. */
  update(action: string, answer: readonly Segment[]): void {
    const text = answer.map((segment) => (segment.role === "observation" ? segment.text : "")).join("");
    const lines = text.split("\n").slice(0, -1);
    const status = /^\[(\d+)\] ~(?:\/(.*))?$/.exec(lines.pop() ?? "");
    this.succeeded = status?.[1] === "0";
    if (!status || !this.succeeded) return;
    const [program, operand] = action.split(" ");
    if (program === "ls" && operand === undefined) this.listings.set(this.cwd, lines);
    if (program === "cat" && operand !== undefined) this.words.set(this.pathOf(operand), lines[0] ?? "");
    this.cwd = status[2] ?? "";
  }

  pathOf(name: string): string {
    return this.cwd === "" ? name : `${this.cwd}/${name}`;
  }

  /** Listed directories of the current directory. */
  directories(): string[] {
    return (this.listings.get(this.cwd) ?? []).filter((name) => DIRECTORY_NAMES.has(name));
  }

  /** Listed files of the current directory. */
  files(): string[] {
    return (this.listings.get(this.cwd) ?? []).filter((name) => !DIRECTORY_NAMES.has(name));
  }
}
