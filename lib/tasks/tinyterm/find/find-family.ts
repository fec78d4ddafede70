import { TerminalEnvironment } from "../../../environments/terminal-environment.js";
import { shippedTokenizer } from "../../shipped-tokenizer.js";
import type { TaskFamily } from "../../task-family.js";
import { RandomTerminalAgent } from "../random-terminal-agent.js";
import { findCommandProblem } from "./find-command-problem.js";
import { FindExpert } from "./find-expert.js";
import { findObservationFloor } from "./find-observation-floor.js";
import { findRandomHabits } from "./find-random-habits.js";
import type { FindTask } from "./find-task.js";
import { generateFindTask } from "./generate-find-task.js";

const SIZES = { train: 4096, val: 1024, ood: 1024 };

/** TinyTerm's first family: find a file by name in a small tree, read it, submit its word. */
export const findFamily: TaskFamily = {
  name: "tinyterm/find",
  tokenizer: shippedTokenizer("tinyterm"),
  // That of every family, for they are played by one agent: `touch a/b/here` and what ends it, with room for more.
  maxActionTokens: 10,
  size: (split) => SIZES[split],
  task: generateFindTask,
  createEnvironment: (task, sandboxes) => {
    const { instruction, files, answer } = task as FindTask;
    return new TerminalEnvironment({
      instruction,
      files: files.map(({ path, word }) => ({ path, text: `${word}\n` })),
      // Builtins only: a verifier starts no program. It runs after the last action, so it may know the answer.
      verifier: `[[ -f .submitted ]] && IFS= read -r word < .submitted && [[ $word == ${answer} ]]`,
      commandProblem: findCommandProblem,
      sandboxes,
    });
  },
  createExpert: () => new FindExpert(),
  createRandomAgent: (task, seed) =>
    new RandomTerminalAgent(findRandomHabits((task as FindTask).target), seed),
  observationFloor: (task, actions) => findObservationFloor(task as FindTask, actions),
};
