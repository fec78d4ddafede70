import type { Task } from "../../task.js";
import type { Tree } from "../draw-tree.js";

/** A tree of directories with one word in every file; the agent is to make an empty file `here` in the named directory. */
export interface NavigateTask extends Task, Tree {
  /** Path of the directory to be marked. */
  target: string;
}
