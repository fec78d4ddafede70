import { DataError } from "../errors/data-error.js";
import type { TokenSequence } from "../loss/token-sequence.js";
import { readTrajectories } from "../rollout/trajectory-reader.js";
import { trajectoryToSequence } from "../rollout/trajectory-to-sequence.js";
import { ImitationData } from "./imitation-data.js";

/**
 * Reads the trajectories algorithm sft learns from. Those without an action are left out, as they teach nothing.
 * @throws DataError ERR_TRAJECTORY when a file is unreadable, a line is corrupt, an id is outside the vocabulary or nothing is left.
 */
export async function readImitationData(
  paths: readonly string[],
  options: { seed: number; batchSequences: number; vocabSize: number; onProblem(message: string): void },
): Promise<ImitationData> {
  const sequences: TokenSequence[] = [];
  for (const path of paths)
    for await (const trajectory of readTrajectories(path, {
      onProblem: (problem) => options.onProblem(problem.message),
    })) {
      if (!trajectory.roles.includes("a")) continue;
      const stranger = trajectory.ids.find((id) => id >= options.vocabSize);
      if (stranger !== undefined)
        throw new DataError(
          "ERR_TRAJECTORY",
          `[${path}] trajectory of ${trajectory.taskId} was written with another tokenizer: expected ids below ${options.vocabSize}, got ${stranger}. Use trajectories of this model's tokenizer.`,
        );
      sequences.push(trajectoryToSequence(trajectory, 0));
    }
  if (sequences.length === 0)
    throw new DataError(
      "ERR_TRAJECTORY",
      `[${paths.join(", ")}] nothing to learn from: expected at least 1 trajectory with an action, got 0. Check sft.data.`,
    );
  return new ImitationData(sequences, options);
}
