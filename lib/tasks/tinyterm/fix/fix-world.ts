import type { Task } from "../../task.js";
import { NAME_POOLS } from "../name-pools.js";
import type { TreeWorld } from "../tree-world.js";
import type { Fault } from "./fix-task.js";

/** From what the tasks of a split are drawn. */
export interface FixWorld extends TreeWorld {
  /** Drawn evenly. */
  faults: readonly Fault[];
  /** Programs that do not exist, drawn evenly where the fault has one. */
  programs: readonly string[];
}

const level = (directories: number, files: number) => ({ directories, files });
const programs = ["show", "open", "print"];

const inDistribution: FixWorld = {
  pools: NAME_POOLS.find,
  shapes: [
    [level(2, 0), level(0, 1)],
    [level(2, 0), level(0, 2)],
    [level(3, 0), level(0, 2)],
  ],
  faults: ["bare", "misplaced", "unknown"],
  programs,
};

/** Deeper and wider, with names that stand in no other split, and with scripts that are wrong in two ways. */
const outOfDistribution: FixWorld = {
  pools: NAME_POOLS.ood,
  shapes: [
    [level(4, 0), level(0, 1)],
    [level(2, 0), level(1, 1), level(0, 1)],
    [level(2, 0), level(2, 0), level(0, 1)],
  ],
  faults: ["bare", "misplaced", "unknown", "twofold"],
  programs,
};

/** The generator's distribution of worlds, by split. The root of every world holds directories and the two scripts, nothing else. */
export const FIX_WORLDS: Readonly<Record<Task["split"], FixWorld>> = {
  train: inDistribution,
  val: inDistribution,
  ood: outOfDistribution,
};
