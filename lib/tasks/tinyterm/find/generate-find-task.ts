import { CounterRandom } from "../../../random/counter-random.js";
import { deriveSeed } from "../../../random/derive-seed.js";
import type { Task } from "../../task.js";
import type { FindTask } from "./find-task.js";
import { FIND_WORLDS } from "./find-world.js";

/** Seed of the generator: another one makes another family of tasks. */
const SEED = 20_260;

/** One world in this many is kept for `val`; which, is decided by its content, so `train` and `val` share none. */
const VAL_SHARE = 8n;

/** Task `index` of a split: a pure function. Names, places and words are even draws without replacement; see `worldProbability`. */
export function generateFindTask(split: Task["split"], index: number): FindTask {
  for (let attempt = 0; ; attempt++) {
    const task = draw(
      split,
      index,
      new CounterRandom(deriveSeed(SEED, `tinyterm/find/${split}`, index, attempt)),
    );
    const content = JSON.stringify([task.instruction, task.files]);
    const forVal = deriveSeed(SEED, content) % VAL_SHARE === 0n;
    if (split === "ood" || forVal === (split === "val")) return task;
  }
}

function draw(split: Task["split"], index: number, random: CounterRandom): FindTask {
  const { pools, shapes } = FIND_WORLDS[split];
  const shape = random.pick(shapes);
  const directoryNames = random.shuffle(pools.directories).values();
  const fileNames = random.shuffle(pools.files).values();
  const words = random.shuffle(pools.words).values();
  const take = (names: Iterator<string>): string => names.next().value as string;
  const below = (parent: string, name: string): string => (parent === "" ? name : `${parent}/${name}`);

  const directories: string[] = [];
  const files: FindTask["files"] = [];
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
  const { path, word } = random.pick(files);
  const target = path.slice(path.lastIndexOf("/") + 1);
  return {
    id: `tinyterm/find/${split}/${String(index).padStart(6, "0")}`,
    family: "tinyterm/find",
    split,
    instruction: `read ${target}`,
    // Enough to list and leave every directory, with a few turns to spare.
    maxTurns: 3 * directories.length + 3,
    directories,
    files,
    target,
    answer: word,
  };
}
