import { TerminalEnvironment } from "../../../environments/terminal-environment.js";
import { shippedTokenizer } from "../../shipped-tokenizer.js";
import type { TaskFamily } from "../../task-family.js";
import { RandomTerminalAgent } from "../random-terminal-agent.js";
import { treeVerifier } from "../tree-verifier.js";
import { generateNavigateTask } from "./generate-navigate-task.js";
import { navigateCommandProblem } from "./navigate-command-problem.js";
import { NavigateExpert } from "./navigate-expert.js";
import { navigateObservationFloor } from "./navigate-observation-floor.js";
import { navigateRandomHabits } from "./navigate-random-habits.js";
import type { NavigateTask } from "./navigate-task.js";

const SIZES = { train: 4096, val: 1024, ood: 1024 };

/** TinyTerm: find a directory by name in a nested tree and make an empty file `here` in it. */
export const navigateFamily: TaskFamily = {
  name: "tinyterm/navigate",
  tokenizer: shippedTokenizer("tinyterm"),
  maxActionTokens: 10,
  size: (split) => SIZES[split],
  task: generateNavigateTask,
  createEnvironment: (task, sandboxes) => {
    const { instruction, directories, files, target } = task as NavigateTask;
    return new TerminalEnvironment({
      instruction,
      files: files.map(({ path, word }) => ({ path, text: `${word}\n` })),
      verifier: treeVerifier({ directories, files: [...files, { path: `${target}/here`, word: "" }] }),
      commandProblem: navigateCommandProblem,
      sandboxes,
    });
  },
  createExpert: () => new NavigateExpert(),
  createRandomAgent: (task, seed) =>
    new RandomTerminalAgent(navigateRandomHabits(task.instruction.slice("mark ".length)), seed),
  observationFloor: (task, actions) => navigateObservationFloor(task as NavigateTask, actions),
};
