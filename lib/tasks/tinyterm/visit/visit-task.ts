import type { Task } from "../../task.js";

/** A tree of files of one to three words; the agent is to go to a directory, read a file there and submit its first word. */
export interface VisitTask extends Task {
  /** The words of a file, one per line; they repeat. */
  files: { path: string; words: string[] }[];
  /** Text of the script `run` in the root, where there is one. */
  script?: string;
  /** Name of the directory to be visited. */
  target: string;
}
