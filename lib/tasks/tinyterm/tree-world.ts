import type { NamePools } from "./name-pools.js";
import type { TreeShape } from "./tree-shape.js";

/** The distribution from which the trees of tasks are drawn. */
export interface TreeWorld {
  /** Names of directories, names of files and words: even draws without replacement. */
  pools: NamePools;
  /** Drawn evenly. */
  shapes: readonly TreeShape[];
}
