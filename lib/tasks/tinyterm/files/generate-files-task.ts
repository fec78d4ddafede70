import type { CounterRandom } from "../../../random/counter-random.js";
import type { Task } from "../../task.js";
import { type DrawnTree, drawTree } from "../draw-tree.js";
import { FIND_WORLDS } from "../find/find-world.js";
import { splitByContent } from "../split-by-content.js";
import { treeDifficulty } from "../tree-difficulty.js";
import type { FilesTask } from "./files-task.js";

/** Seed of the generator: another one makes another family of tasks. */
const SEED = 20_264;

/** Drawn evenly. A move under a new name is asked for in no other split. */
const KINDS: Readonly<Record<Task["split"], readonly FilesTask["kind"][]>> = {
  train: ["move", "copy", "rename"],
  val: ["move", "copy", "rename"],
  ood: ["move", "copy", "rename", "move-as"],
};

/**
 * Task `index` of a split: a pure function. The tree is drawn by `drawTree`; the file and the directory are an even choice among the pairs of
 * which the one does not hold the other, a new name is one that no file has.
 */
export function generateFilesTask(split: Task["split"], index: number): FilesTask {
  return splitByContent(SEED, "tinyterm/files", split, index, (random) => {
    const tree = drawTree(FIND_WORLDS[split], random);
    const { directories, files, shape } = tree;
    const kind = random.pick(KINDS[split]);
    return {
      id: `tinyterm/files/${split}/${String(index).padStart(6, "0")}`,
      family: "tinyterm/files",
      split,
      ...drawRequest(kind, tree, random),
      difficulty: treeDifficulty(shape),
      // The expert lists the root and every directory, acts once or, in deep trees, twice, and submits; a few turns to spare.
      maxTurns: directories.length + 7,
      directories,
      files,
      kind,
    };
  });
}

function drawRequest(
  kind: FilesTask["kind"],
  { directories, files, spare }: DrawnTree,
  random: CounterRandom,
): Pick<FilesTask, "instruction" | "source" | "target"> {
  const fresh = random.pick(spare.files);
  if (kind === "rename") {
    const source = random.pick(files).path;
    return {
      instruction: `rename ${nameOf(source)} ${fresh}`,
      source,
      target: `${parentOf(source)}/${fresh}`,
    };
  }
  const pairs = files.flatMap(({ path }) =>
    directories.filter((directory) => directory !== parentOf(path)).map((directory) => [path, directory]),
  );
  const [source, directory] = random.pick(pairs);
  const name = nameOf(source);
  const place = nameOf(directory);
  if (kind === "move-as")
    return {
      instruction: `move ${name} ${place}/${fresh}`,
      source,
      target: `${directory}/${fresh}`,
    };
  return { instruction: `${kind} ${name} ${place}`, source, target: `${directory}/${name}` };
}

const parentOf = (path: string): string => path.slice(0, Math.max(0, path.lastIndexOf("/")));
const nameOf = (path: string): string => path.slice(path.lastIndexOf("/") + 1);
