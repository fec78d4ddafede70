import { TerminalEnvironment } from "../../../environments/terminal-environment.js";
import { shippedTokenizer } from "../../shipped-tokenizer.js";
import type { TaskFamily } from "../../task-family.js";
import { RandomTerminalAgent } from "../random-terminal-agent.js";
import { generateVisitTask } from "./generate-visit-task.js";
import { VisitExpert } from "./visit-expert.js";
import { VISIT_RANDOM_HABITS } from "./visit-random-habits.js";
import type { VisitTask } from "./visit-task.js";

const SIZES = { train: 65_536, val: 1024, ood: 1024 };

/**
 * Other worlds, other names, other commands: what a starting policy may see of terminals before it meets the family `find`. The whole
 * closed command language is allowed.
 */
export const visitFamily: TaskFamily = {
  name: "tinyterm/visit",
  tokenizer: shippedTokenizer("tinyterm"),
  maxActionTokens: 10,
  size: (split) => SIZES[split],
  task: generateVisitTask,
  createEnvironment: (task, sandboxes) => {
    const { instruction, files, script, target } = task as VisitTask;
    const accepted = files
      .filter(({ path }) => path.split("/").at(-2) === target)
      .map(({ words }) => words[0])
      .join("|");
    return new TerminalEnvironment({
      instruction,
      files: files.map(({ path, words }) => ({ path, text: `${words.join("\n")}\n` })),
      ...(script === undefined ? {} : { scripts: [{ path: "run", text: `${script}\n` }] }),
      verifier: `[[ -f .submitted ]] && IFS= read -r word < .submitted && [[ $word == @(${accepted}) ]]`,
      sandboxes,
    });
  },
  createExpert: () => new VisitExpert(),
  createRandomAgent: (_task, seed) => new RandomTerminalAgent(VISIT_RANDOM_HABITS, seed),
  // A lower bound and no more: these irregular trees have no closed form, so nothing is claimed for them.
  observationFloor: () => 0,
};
