import { ArgumentError } from "../errors/argument-error.js";
import type { PackedSequences } from "../loss/packed-sequences.js";
import type { TrainableModel } from "../model/trainable-model.js";
import type { Trajectory } from "../rollout/trajectory.js";

/** How well a model predicts what a terminal said. */
export interface ObservationNll {
  /** Σ -log p over observation tokens at temperature 1, in nats. */
  nats: number;
  tokens: number;
  /** nats / tokens; absent without observation tokens. */
  nll?: number;
}

/**
 * Mean negative log-likelihood, at temperature 1, of the observation tokens of recorded trajectories: the paper's measure of what
 * a model knows about its environment. The mean is over tokens, so long trajectories count for more. Trajectories are packed into
 * batches of at most `maxTokens` tokens (a longer one goes alone); the result does not depend on it.
 *
 * @throws ArgumentError ERR_OUT_OF_RANGE when `maxTokens` is not a positive integer.
 */
export async function observationNll(options: {
  model: Pick<TrainableModel, "logprobs">;
  trajectories: readonly Trajectory[];
  /** Default 8192. */
  maxTokens?: number;
}): Promise<ObservationNll> {
  const { model, trajectories, maxTokens = 8192 } = options;
  if (!Number.isSafeInteger(maxTokens) || maxTokens < 1)
    throw new ArgumentError(
      "ERR_OUT_OF_RANGE",
      `[observationNll] maxTokens is unusable: expected a positive integer, got ${maxTokens}. Pass the most tokens of one forward pass.`,
    );
  let nats = 0;
  let tokens = 0;
  let batch: Trajectory[] = [];
  let size = 0;
  const flush = async (): Promise<void> => {
    if (batch.length === 0) return;
    const packed = pack(batch);
    const logprobs = await model.logprobs(packed, { temperature: 1 });
    for (const [i, { roles }] of batch.entries()) {
      const start = packed.cuSeqLens[i];
      // Row t scores the token after it.
      for (let t = 1; t < packed.cuSeqLens[i + 1] - start; t++) {
        if (roles[t] !== "o") continue;
        nats -= logprobs[start + t - 1];
        tokens++;
      }
    }
    batch = [];
    size = 0;
  };
  for (const trajectory of trajectories) {
    const length = usedLength(trajectory);
    // Nothing to score: no forward pass.
    if (length < 2) continue;
    if (size + length > maxTokens) await flush();
    batch.push(trajectory);
    size += length;
  }
  await flush();
  return { nats, tokens, ...(tokens === 0 ? {} : { nll: nats / tokens }) };
}

/** Tokens up to the last observation: a causal model does not need the ones after it. */
function usedLength({ roles }: Trajectory): number {
  return roles.lastIndexOf("o") + 1;
}

function pack(trajectories: readonly Trajectory[]): PackedSequences {
  const cuSeqLens = new Int32Array(trajectories.length + 1);
  for (const [i, trajectory] of trajectories.entries())
    cuSeqLens[i + 1] = cuSeqLens[i] + usedLength(trajectory);
  const ids = new Int32Array(cuSeqLens[trajectories.length]);
  for (const [i, trajectory] of trajectories.entries())
    ids.set(trajectory.ids.slice(0, usedLength(trajectory)), cuSeqLens[i]);
  return { ids, cuSeqLens };
}
