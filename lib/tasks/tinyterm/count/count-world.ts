import type { Task } from "../../task.js";
import { NAME_POOLS } from "../name-pools.js";
import type { TreeWorld } from "../tree-world.js";

/** From what the tasks of a split are drawn. */
export interface CountWorld extends TreeWorld {
  /** Lines of a file that are its first word: an even draw of 1 to this many. */
  mostOfFirst: number;
  /** Lines of a file that are its second word: an even draw of 0 to this many. */
  mostOfSecond: number;
  /** True: the word asked for is an even choice of the target's two words. False: it is its first word, of which there is a line. */
  anyWord: boolean;
}

const level = (directories: number, files: number) => ({ directories, files });

const inDistribution: CountWorld = {
  pools: NAME_POOLS.find,
  shapes: [
    [level(2, 0), level(0, 1)],
    [level(2, 0), level(0, 2)],
    [level(3, 0), level(0, 2)],
  ],
  mostOfFirst: 4,
  mostOfSecond: 3,
  anyWord: false,
};

/** Deeper and wider, with names that stand in no other split, and with words of which there may be no line. */
const outOfDistribution: CountWorld = {
  pools: NAME_POOLS.ood,
  shapes: [
    [level(4, 0), level(0, 1)],
    [level(2, 0), level(1, 1), level(0, 1)],
    [level(2, 0), level(2, 0), level(0, 1)],
  ],
  mostOfFirst: 4,
  mostOfSecond: 3,
  anyWord: true,
};

/** The generator's distribution of worlds, by split. */
export const COUNT_WORLDS: Readonly<Record<Task["split"], CountWorld>> = {
  train: inDistribution,
  val: inDistribution,
  ood: outOfDistribution,
};
