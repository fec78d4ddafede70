import { TerminalEnvironment } from "../../../environments/terminal-environment.js";
import { shippedTokenizer } from "../../shipped-tokenizer.js";
import type { TaskFamily } from "../../task-family.js";
import { RandomTerminalAgent } from "../random-terminal-agent.js";
import { unchangedFiles } from "../unchanged-files.js";
import { countCommandProblem } from "./count-command-problem.js";
import { CountExpert } from "./count-expert.js";
import { countObservationFloor } from "./count-observation-floor.js";
import { countRandomHabits } from "./count-random-habits.js";
import type { CountTask } from "./count-task.js";
import { generateCountTask } from "./generate-count-task.js";

const SIZES = { train: 4096, val: 1024, ood: 1024 };

/** Find a file by name in a small tree, count its lines, or those that are a word, and submit the number. */
export const countFamily: TaskFamily = {
  name: "tinyterm/count",
  tokenizer: shippedTokenizer("tinyterm"),
  // `grep -c red a/b/fig` and what ends it.
  maxActionTokens: 10,
  size: (split) => SIZES[split],
  task: generateCountTask,
  createEnvironment: (task, sandboxes) => {
    const { instruction, files: contents, answer } = task as CountTask;
    const files = contents.map(({ path, lines }) => ({ path, text: `${lines.join("\n")}\n` }));
    return new TerminalEnvironment({
      instruction,
      files,
      verifier: `[[ -f .submitted ]] && IFS= read -r number < .submitted && [[ $number == ${answer} ]] && ${unchangedFiles(files)}`,
      commandProblem: countCommandProblem,
      sandboxes,
    });
  },
  createExpert: () => new CountExpert(),
  createRandomAgent: (task, seed) => {
    const { target, word } = task as CountTask;
    return new RandomTerminalAgent(countRandomHabits(target, word), seed);
  },
  observationFloor: (task, actions) => countObservationFloor(task as CountTask, actions),
};
