import { MazeEnvironment } from "../../environments/maze-environment.js";
import { shippedTokenizer } from "../shipped-tokenizer.js";
import type { TaskFamily } from "../task-family.js";
import { generateMazeTask } from "./generate-maze-task.js";
import { MazeExpert } from "./maze-expert.js";
import { MazeRandomAgent } from "./maze-random-agent.js";
import type { MazeTask } from "./maze-task.js";

export interface MazeFamilyOptions {
  name: string;
  /** Least and most cells a side of `train` and `val`, 3 to 8. */
  sizes: readonly [number, number];
  /** The same for `ood`. */
  oodSizes: readonly [number, number];
}

const SIZES = { train: 4096, val: 1024, ood: 1024 };

/** Mazes of one range of sizes. */
export function createMazeFamily({ name, sizes, oodSizes }: MazeFamilyOptions): TaskFamily {
  return {
    name,
    tokenizer: shippedTokenizer("maze"),
    maxActionTokens: 2,
    size: (split) => SIZES[split],
    task: (split, index) => generateMazeTask(name, split === "ood" ? oodSizes : sizes, split, index),
    createEnvironment: (task) => new MazeEnvironment(task as MazeTask),
    createExpert: () => new MazeExpert(),
    createRandomAgent: (_task, seed) => new MazeRandomAgent(seed),
    // A lower bound and no more: what is behind an unseen opening has no closed form, so nothing is claimed for it.
    observationFloor: () => 0,
  };
}
