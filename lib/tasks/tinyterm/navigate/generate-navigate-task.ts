import type { Task } from "../../task.js";
import { drawTree } from "../draw-tree.js";
import { splitByContent } from "../split-by-content.js";
import { treeDifficulty } from "../tree-difficulty.js";
import type { NavigateTask } from "./navigate-task.js";
import { NAVIGATE_WORLDS } from "./navigate-world.js";

/** Seed of the generator: another one makes another family of tasks. */
const SEED = 20_263;

/** Task `index` of a split: a pure function. The tree is drawn by `drawTree`, the target is an even choice among its directories. */
export function generateNavigateTask(split: Task["split"], index: number): NavigateTask {
  return splitByContent(SEED, "tinyterm/navigate", split, index, (random) => {
    const { directories, files, shape } = drawTree(NAVIGATE_WORLDS[split], random);
    const target = random.pick(directories);
    return {
      id: `tinyterm/navigate/${split}/${String(index).padStart(6, "0")}`,
      family: "tinyterm/navigate",
      split,
      instruction: `mark ${target.slice(target.lastIndexOf("/") + 1)}`,
      difficulty: treeDifficulty(shape),
      // The expert lists every directory that may hold others, marks and submits; a few turns to spare.
      maxTurns: listings(directories) + 6,
      directories,
      files,
      target,
    };
  });
}

/** Directories that hold directories, the root among them. */
function listings(directories: readonly string[]): number {
  return new Set(directories.map((path) => path.slice(0, Math.max(0, path.lastIndexOf("/"))))).size;
}
