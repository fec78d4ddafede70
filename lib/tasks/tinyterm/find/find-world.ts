import type { Task } from "../../task.js";
import { NAME_POOLS } from "../name-pools.js";
import type { TreeWorld } from "../tree-world.js";

const level = (directories: number, files: number) => ({ directories, files });

const inDistribution: TreeWorld = {
  pools: NAME_POOLS.find,
  shapes: [
    [level(2, 0), level(0, 1)],
    [level(2, 0), level(0, 2)],
    [level(3, 0), level(0, 2)],
  ],
};

/** Deeper and wider, with names that stand in no other split. */
const outOfDistribution: TreeWorld = {
  pools: NAME_POOLS.ood,
  shapes: [
    [level(4, 0), level(0, 2)],
    [level(2, 0), level(1, 1), level(0, 1)],
    [level(2, 0), level(2, 0), level(0, 1)],
  ],
};

/** The generator's distribution of worlds, by split. */
export const FIND_WORLDS: Readonly<Record<Task["split"], TreeWorld>> = {
  train: inDistribution,
  val: inDistribution,
  ood: outOfDistribution,
};
