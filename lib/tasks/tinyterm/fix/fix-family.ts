import { TerminalEnvironment } from "../../../environments/terminal-environment.js";
import { deriveSeed } from "../../../random/derive-seed.js";
import { scriptCommand } from "../../../sandbox/script-command.js";
import { shippedTokenizer } from "../../shipped-tokenizer.js";
import type { TaskFamily } from "../../task-family.js";
import { RandomTerminalAgent } from "../random-terminal-agent.js";
import { unchangedFiles } from "../unchanged-files.js";
import { checkScript } from "./check-script.js";
import { fixCommandProblem } from "./fix-command-problem.js";
import { FixExpert } from "./fix-expert.js";
import { fixObservationFloor } from "./fix-observation-floor.js";
import { FIX_RANDOM_HABITS } from "./fix-random-habits.js";
import type { FixTask } from "./fix-task.js";
import { generateFixTask } from "./generate-fix-task.js";

const SIZES = { train: 4096, val: 1024, ood: 1024 };

/** Mend a failing script that should print the word of a file somewhere in a small tree. */
export const fixFamily: TaskFamily = {
  name: "tinyterm/fix",
  tokenizer: shippedTokenizer("tinyterm"),
  // `echo cat a/b/fig > run` and what ends it.
  maxActionTokens: 10,
  size: (split) => SIZES[split],
  task: generateFixTask,
  createEnvironment: (task, sandboxes) => {
    const { id, instruction, files: contents, script, target } = task as FixTask;
    const files = contents.map(({ path, word }) => ({ path, text: `${word}\n` }));
    const word = contents.find(({ path }) => path === target)?.word ?? "";
    const check = { path: "check", text: checkScript(word) };
    return new TerminalEnvironment({
      instruction,
      files,
      scripts: [{ path: "run", text: `${script}\n` }, check],
      verifier: hiddenTest(target, [...files, check], `${deriveSeed(0, id)}`),
      commandProblem: fixCommandProblem,
      sandboxes,
    });
  },
  createExpert: () => new FixExpert(),
  createRandomAgent: (_task, seed) => new RandomTerminalAgent(FIX_RANDOM_HABITS, seed),
  observationFloor: (task, actions) => fixObservationFloor(task as FixTask, actions),
};

/**
 * All else is unchanged, and `run` prints whatever word the target holds. The environment has made sure before that `run` may run.
 * @param fresh a word that no script can know.
 */
function hiddenTest(target: string, files: readonly { path: string; text: string }[], fresh: string): string {
  return `${unchangedFiles(files)} || exit 1
echo ${fresh} > ${target}
printed=$(${scriptCommand("run")} 2> /dev/null) || exit 1
[[ $printed == ${fresh} ]]`;
}
