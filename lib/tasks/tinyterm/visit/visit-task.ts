import type { Task } from "../../task.js";

/** A tree of files of one to three words; the agent is to go to a directory, read a file there and submit its first word. */
export interface VisitTask extends Task {
  files: { path: string; words: string[] }[];
  /** Name of the directory to be visited. */
  target: string;
}
