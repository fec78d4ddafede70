import type { Task } from "../../task.js";
import { drawTree } from "../draw-tree.js";
import { splitByContent } from "../split-by-content.js";
import { treeDifficulty } from "../tree-difficulty.js";
import type { FindTask } from "./find-task.js";
import { FIND_WORLDS } from "./find-world.js";

/** Seed of the generator: another one makes another family of tasks. */
const SEED = 20_260;

/** Task `index` of a split: a pure function. The tree is drawn by `drawTree`, the target is an even choice; see `worldProbability`. */
export function generateFindTask(split: Task["split"], index: number): FindTask {
  return splitByContent(SEED, "tinyterm/find", split, index, (random) => {
    const { directories, files, shape } = drawTree(FIND_WORLDS[split], random);
    const { path, word } = random.pick(files);
    const target = path.slice(path.lastIndexOf("/") + 1);
    return {
      id: `tinyterm/find/${split}/${String(index).padStart(6, "0")}`,
      family: "tinyterm/find",
      split,
      instruction: `read ${target}`,
      difficulty: treeDifficulty(shape),
      // Enough to list and leave every directory, with a few turns to spare.
      maxTurns: 3 * directories.length + 3,
      directories,
      files,
      target,
      answer: word,
    };
  });
}
