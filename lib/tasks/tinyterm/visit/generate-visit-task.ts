import { CounterRandom } from "../../../random/counter-random.js";
import { deriveSeed } from "../../../random/derive-seed.js";
import type { Task } from "../../task.js";
import { NAME_POOLS } from "../name-pools.js";
import type { VisitTask } from "./visit-task.js";

/** Seed of the generator: another one makes another family of tasks. */
const SEED = 20_262;

const MAX_DEPTH = 2;

/** Programs that a script may name and no system has. */
const NO_PROGRAMS = ["show", "open", "print"];

const namesOf = (kind: "directories" | "files" | "words"): readonly string[] => [
  ...NAME_POOLS.other[kind],
  ...NAME_POOLS.ood[kind],
];

/** Task `index` of a split: a pure function. Trees are irregular: some directories nest, some files lie in the root. */
export function generateVisitTask(split: Task["split"], index: number): VisitTask {
  const random = new CounterRandom(deriveSeed(SEED, `tinyterm/visit/${split}`, index));
  const directoryNames = random.shuffle(namesOf("directories"));
  const fileNames = random.shuffle(namesOf("files"));
  const words = namesOf("words");
  const files: VisitTask["files"] = [];
  const directories: string[] = [];
  const fill = (path: string, depth: number): void => {
    const prefix = path === "" ? "" : `${path}/`;
    for (let i = depth === 0 ? random.integer(2) : 1 + random.integer(2); i > 0; i--)
      files.push({
        path: prefix + (fileNames.pop() as string),
        words: drawLines(words, random),
      });
    const children = depth === 0 ? 1 + random.integer(4) : depth < MAX_DEPTH ? random.integer(2) : 0;
    for (let i = 0; i < children && directories.length < 4; i++) {
      const name = directoryNames.pop() as string;
      directories.push(name);
      fill(prefix + name, depth + 1);
    }
  };
  fill("", 0);
  const target = random.pick(directories);
  const script = random.integer(2) === 0 ? drawScript(files, directories, random) : undefined;
  return {
    id: `tinyterm/visit/${split}/${String(index).padStart(6, "0")}`,
    family: "tinyterm/visit",
    split,
    instruction: `visit ${target}`,
    maxTurns: 10,
    files,
    target,
    ...(script === undefined ? {} : { script }),
  };
}

/** One to four lines of a word, none to two of another, in any order. */
function drawLines(words: readonly string[], random: CounterRandom): string[] {
  const [first, second] = random.shuffle(words);
  const lines = [...Array(1 + random.integer(4)).fill(first), ...Array(random.integer(3)).fill(second)];
  return random.shuffle(lines);
}

/** A script of one line that reads a file: as it should be, with another directory, without one, or with a program that does not exist. */
function drawScript(
  files: VisitTask["files"],
  directories: readonly string[],
  random: CounterRandom,
): string {
  const { path } = random.pick(files);
  const name = path.slice(path.lastIndexOf("/") + 1);
  return random.pick([
    `cat ${path}`,
    `cat ${random.pick(directories)}/${name}`,
    `cat ${name}`,
    `${random.pick(NO_PROGRAMS)} ${path}`,
  ]);
}
