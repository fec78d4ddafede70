import type { NamePools } from "../../../lib/tasks/tinyterm/name-pools.js";
import type { TreeShape } from "../../../lib/tasks/tinyterm/tree-shape.js";
import { arrangements } from "./arrangements.js";

/** Every tree of a shape: each way to give names from the pools to its slots. Paths of directories, parents first, and of files. */
export function* everyTree(
  shape: TreeShape,
  pools: Pick<NamePools, "directories" | "files">,
): Generator<{ directories: string[]; files: string[] }> {
  const slots = { directories: [] as number[], files: [] as number[] };
  let parents = [-1];
  for (const { directories, files } of shape) {
    const children: number[] = [];
    for (const parent of parents) {
      for (let i = 0; i < directories; i++) children.push(slots.directories.push(parent) - 1);
      for (let i = 0; i < files; i++) slots.files.push(parent);
    }
    parents = children;
  }
  for (const directoryNames of arrangements(pools.directories, slots.directories.length)) {
    const directories: string[] = [];
    const below = (parent: number, name: string): string =>
      parent < 0 ? name : `${directories[parent]}/${name}`;
    for (const [i, parent] of slots.directories.entries()) directories.push(below(parent, directoryNames[i]));
    for (const fileNames of arrangements(pools.files, slots.files.length))
      yield { directories, files: slots.files.map((parent, i) => below(parent, fileNames[i])) };
  }
}
