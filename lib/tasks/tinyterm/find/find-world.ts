import type { Task } from "../../task.js";
import { NAME_POOLS, type NamePools } from "../name-pools.js";
import type { TreeShape } from "../tree-shape.js";

/** From what the tasks of a split are drawn. */
export interface FindWorld {
  pools: NamePools;
  /** Drawn evenly. */
  shapes: readonly TreeShape[];
}

const level = (directories: number, files: number) => ({ directories, files });

const inDistribution: FindWorld = {
  pools: NAME_POOLS.find,
  shapes: [
    [level(2, 0), level(0, 1)],
    [level(2, 0), level(0, 2)],
    [level(3, 0), level(0, 2)],
  ],
};

/** Deeper and wider, with names that stand in no other split. */
const outOfDistribution: FindWorld = {
  pools: NAME_POOLS.ood,
  shapes: [
    [level(4, 0), level(0, 2)],
    [level(2, 0), level(1, 1), level(0, 1)],
    [level(2, 0), level(2, 0), level(0, 1)],
  ],
};

/** The generator's distribution of worlds, by split. */
export const FIND_WORLDS: Readonly<Record<Task["split"], FindWorld>> = {
  train: inDistribution,
  val: inDistribution,
  ood: outOfDistribution,
};
