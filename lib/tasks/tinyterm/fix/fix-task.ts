import type { Task } from "../../task.js";
import type { Tree } from "../draw-tree.js";

/**
 * What is wrong with a script that should be `cat DIRECTORY/FILE`:
 *   bare       the path leaves out the directory: `cat fig`
 *   misplaced  it names another directory: `cat oak/fig`
 *   unknown    the program does not exist: `show elm/fig`
 *   twofold    both: `show oak/fig`
 */
export type Fault = "bare" | "misplaced" | "unknown" | "twofold";

/** A tree with one word in every file, and a broken script that should print the word of one of them; the agent is to mend it. */
export interface FixTask extends Task, Tree {
  fault: Fault;
  /** The script as it stands in the root, without the end of its line. */
  script: string;
  /** Path of the file whose word it should print. */
  target: string;
}
