import type { CounterRandom } from "../../random/counter-random.js";
import type { NamePools } from "./name-pools.js";
import type { TreeShape } from "./tree-shape.js";
import type { TreeWorld } from "./tree-world.js";

/** A tree of directories with one word in every file. */
export interface Tree {
  /** Paths of all directories but the root, parents first. */
  directories: string[];
  /** Every file: its path and the word it holds. */
  files: { path: string; word: string }[];
}

/** A tree, and what else its draw decided. */
export interface DrawnTree extends Tree {
  shape: TreeShape;
  /** Names and words of the pools that stand nowhere in the tree, in random order. */
  spare: NamePools;
}

/** Draws a tree: its shape, then the names of its directories, the names of its files and their words. */
export function drawTree({ pools, shapes }: TreeWorld, random: CounterRandom): DrawnTree {
  const shape = random.pick(shapes);
  const directoryNames = random.shuffle(pools.directories).values();
  const fileNames = random.shuffle(pools.files).values();
  const words = random.shuffle(pools.words).values();
  const take = (names: Iterator<string>): string => names.next().value as string;
  const below = (parent: string, name: string): string => (parent === "" ? name : `${parent}/${name}`);

  const directories: string[] = [];
  const files: Tree["files"] = [];
  let parents = [""];
  for (const level of shape) {
    const children: string[] = [];
    for (const parent of parents) {
      for (let i = 0; i < level.directories; i++) children.push(below(parent, take(directoryNames)));
      for (let i = 0; i < level.files; i++)
        files.push({ path: below(parent, take(fileNames)), word: take(words) });
    }
    directories.push(...children);
    parents = children;
  }
  const spare = { directories: [...directoryNames], files: [...fileNames], words: [...words] };
  return { directories, files, shape, spare };
}
