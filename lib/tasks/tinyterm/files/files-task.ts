import type { Task } from "../../task.js";
import type { Tree } from "../draw-tree.js";

/**
 * A tree of directories with one word in every file; the agent is to move, copy or rename the named file. `move-as` is a move under a new
 * name.
 */
export interface FilesTask extends Task, Tree {
  kind: "move" | "copy" | "rename" | "move-as";
  /** Path of the file. */
  source: string;
  /** Path that is to hold its word in the end. */
  target: string;
}
