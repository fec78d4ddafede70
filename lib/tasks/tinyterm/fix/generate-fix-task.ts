import type { CounterRandom } from "../../../random/counter-random.js";
import type { Task } from "../../task.js";
import { drawTree } from "../draw-tree.js";
import { splitByContent } from "../split-by-content.js";
import type { Fault, FixTask } from "./fix-task.js";
import { FIX_WORLDS } from "./fix-world.js";

/** Seed of the generator: another one makes another family of tasks. */
const SEED = 20_266;

const DIFFICULTY = { bare: 1, misplaced: 2, unknown: 3, twofold: 3 } as const;

/**
 * Task `index` of a split: a pure function. The tree is drawn by `drawTree`; the file, the fault, a program that does not exist and a
 * directory that is not the file's are even choices. One tree belongs to one split, whatever its script.
 */
export function generateFixTask(split: Task["split"], index: number): FixTask {
  return splitByContent(SEED, "tinyterm/fix", split, index, (random) => {
    const world = FIX_WORLDS[split];
    const { directories, files } = drawTree(world, random);
    const target = random.pick(files).path;
    const fault = random.pick(world.faults);
    return {
      id: `tinyterm/fix/${split}/${String(index).padStart(6, "0")}`,
      family: "tinyterm/fix",
      split,
      instruction: "fix run",
      difficulty: DIFFICULTY[fault],
      // Where two faults are to be found: run, read, mend and check the script, list every directory, mend again and submit; one to spare.
      maxTurns: directories.length + 8,
      directories,
      files,
      fault,
      script: brokenScript(fault, target, directories, world.programs, random),
      target,
    };
  });
}

function brokenScript(
  fault: Fault,
  target: string,
  directories: readonly string[],
  programs: readonly string[],
  random: CounterRandom,
): string {
  const slash = target.lastIndexOf("/");
  const name = target.slice(slash + 1);
  if (fault === "bare") return `cat ${name}`;
  if (fault === "unknown") return `${random.pick(programs)} ${target}`;
  const elsewhere = random.pick(directories.filter((path) => path !== target.slice(0, slash)));
  return `${fault === "misplaced" ? "cat" : random.pick(programs)} ${elsewhere}/${name}`;
}
