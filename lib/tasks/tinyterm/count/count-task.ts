import type { Task } from "../../task.js";

/** A tree of files that hold lines of two words each; the agent is to count lines of one of them. */
export interface CountTask extends Task {
  /** Paths of all directories but the root, parents first. */
  directories: string[];
  /** Every file: its path and its lines, one word each. */
  files: { path: string; lines: string[] }[];
  /** Name of the file. */
  target: string;
  /** The word whose lines are to be counted; absent where all lines are. */
  word?: string;
  /** How many lines it is. */
  answer: number;
}
