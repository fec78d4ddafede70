import { TerminalEnvironment } from "../../../environments/terminal-environment.js";
import { shippedTokenizer } from "../../shipped-tokenizer.js";
import type { TaskFamily } from "../../task-family.js";
import { RandomTerminalAgent } from "../random-terminal-agent.js";
import { treeVerifier } from "../tree-verifier.js";
import { filesCommandProblem } from "./files-command-problem.js";
import { FilesExpert } from "./files-expert.js";
import { filesObservationFloor } from "./files-observation-floor.js";
import { filesRandomHabits } from "./files-random-habits.js";
import type { FilesTask } from "./files-task.js";
import { generateFilesTask } from "./generate-files-task.js";

const SIZES = { train: 4096, val: 1024, ood: 1024 };

/** TinyTerm: move, copy or rename a file in a small tree. */
export const filesFamily: TaskFamily = {
  name: "tinyterm/files",
  tokenizer: shippedTokenizer("tinyterm"),
  maxActionTokens: 10,
  size: (split) => SIZES[split],
  task: generateFilesTask,
  createEnvironment: (task, sandboxes) => {
    const { instruction, directories, files, kind, source, target } = task as FilesTask;
    const moved = files.flatMap((file) => {
      if (file.path !== source) return [file];
      const there = { path: target, word: file.word };
      return kind === "copy" ? [file, there] : [there];
    });
    return new TerminalEnvironment({
      instruction,
      files: files.map(({ path, word }) => ({ path, text: `${word}\n` })),
      verifier: treeVerifier({ directories, files: moved }),
      commandProblem: filesCommandProblem,
      sandboxes,
    });
  },
  createExpert: () => new FilesExpert(),
  createRandomAgent: (task, seed) => new RandomTerminalAgent(filesRandomHabits(task.instruction), seed),
  observationFloor: (task, actions) => filesObservationFloor(task as FilesTask, actions),
};
