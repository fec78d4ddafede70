import type { Task } from "../../task.js";
import type { Tree } from "../draw-tree.js";

/** A tree of directories with one word in every file; the agent is to find the named file and submit its word. */
export interface FindTask extends Task, Tree {
  /** Name of the file to be read. */
  target: string;
  /** Its word. */
  answer: string;
}
