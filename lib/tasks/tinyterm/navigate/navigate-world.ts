import type { Task } from "../../task.js";
import { NAME_POOLS } from "../name-pools.js";
import type { TreeWorld } from "../tree-world.js";

const level = (directories: number, files: number) => ({ directories, files });

/** Directories at one or two levels. */
const inDistribution: TreeWorld = {
  pools: NAME_POOLS.find,
  shapes: [
    [level(2, 0), level(0, 1)],
    [level(2, 0), level(1, 0), level(0, 1)],
    [level(2, 0), level(2, 0), level(0, 1)],
  ],
};

/** Deeper by a level, with names that stand in no other split. */
const outOfDistribution: TreeWorld = {
  pools: NAME_POOLS.ood,
  shapes: [
    [level(2, 0), level(1, 0), level(1, 0), level(0, 1)],
    [level(1, 0), level(2, 0), level(2, 0), level(0, 1)],
    [level(3, 0), level(1, 0), level(1, 0), level(0, 1)],
  ],
};

/** The generator's distribution of worlds, by split. */
export const NAVIGATE_WORLDS: Readonly<Record<Task["split"], TreeWorld>> = {
  train: inDistribution,
  val: inDistribution,
  ood: outOfDistribution,
};
