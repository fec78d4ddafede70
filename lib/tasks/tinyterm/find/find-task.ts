import type { Task } from "../../task.js";

/** A tree of directories with one word in every file; the agent is to find the named file and submit its word. */
export interface FindTask extends Task {
  /** Paths of all directories but the root, parents first. */
  directories: string[];
  /** Every file: its path and the word it holds. */
  files: { path: string; word: string }[];
  /** Name of the file to be read. */
  target: string;
  /** Its word. */
  answer: string;
}
