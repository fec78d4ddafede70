import { CounterRandom } from "../../../random/counter-random.js";
import { deriveSeed } from "../../../random/derive-seed.js";
import type { Task } from "../../task.js";
import { NAME_POOLS } from "../name-pools.js";
import type { VisitTask } from "./visit-task.js";

/** Seed of the generator: another one makes another family of tasks. */
const SEED = 20_262;

const MAX_DEPTH = 2;

/** Task `index` of a split: a pure function. Trees are irregular: some directories nest, some files lie in the root. */
export function generateVisitTask(split: Task["split"], index: number): VisitTask {
  const random = new CounterRandom(deriveSeed(SEED, `tinyterm/visit/${split}`, index));
  const directoryNames = random.shuffle(NAME_POOLS.other.directories);
  const fileNames = random.shuffle(NAME_POOLS.other.files);
  const words = NAME_POOLS.other.words;
  const files: VisitTask["files"] = [];
  const directories: string[] = [];
  const fill = (path: string, depth: number): void => {
    const prefix = path === "" ? "" : `${path}/`;
    for (let i = depth === 0 ? random.integer(2) : 1 + random.integer(2); i > 0; i--)
      files.push({
        path: prefix + (fileNames.pop() as string),
        words: random.shuffle(words).slice(0, 1 + random.integer(3)),
      });
    const children = depth === 0 ? 1 + random.integer(4) : depth < MAX_DEPTH ? random.integer(2) : 0;
    for (let i = 0; i < children && directories.length < 5; i++) {
      const name = directoryNames.pop() as string;
      directories.push(name);
      fill(prefix + name, depth + 1);
    }
  };
  fill("", 0);
  const target = random.pick(directories);
  return {
    id: `tinyterm/visit/${split}/${String(index).padStart(6, "0")}`,
    family: "tinyterm/visit",
    split,
    instruction: `visit ${target}`,
    maxTurns: 10,
    files,
    target,
  };
}
