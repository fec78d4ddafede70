import { expect } from "vitest";
import type { EchoLossInput } from "../../lib/loss/echo-loss-input.js";
import type { EchoLossResult } from "../../lib/loss/echo-loss-result.js";
import type { LossOptions } from "../../lib/loss/loss-options.js";
import type { VocabStatistics } from "../../lib/loss/vocab-statistics.js";
import { fromBits, toBits } from "./half-precision.js";
import type { LoadedLoss } from "./load-loss.js";
import { OPTION_VARIANTS } from "./option-variants.js";

export type ShardCalls = Pick<
  LoadedLoss,
  "vocabParallelStatistics" | "mergeVocabStatistics" | "vocabParallelEchoLoss"
>;

interface Sharding {
  /** Where shards begin. */
  starts: readonly number[];
  dtype?: "float32" | "bfloat16" | "float16";
  gradientDtype?: "bfloat16";
}

/** Every option that statistics can tell. */
export const SHARD_VARIANTS = OPTION_VARIANTS.map(([name, options]): [string, LossOptions] => [
  name,
  { ...options, nllAtOne: (options.temperature ?? 1) === 1 && options.nllAtOne },
]);

/** As a reduction would, in pairs. */
function reduce({ mergeVocabStatistics }: ShardCalls, parts: VocabStatistics[]): VocabStatistics {
  if (parts.length === 1) return mergeVocabStatistics(parts);
  const half = parts.length >> 1;
  return mergeVocabStatistics(
    [parts.slice(0, half), parts.slice(half)].map((side) => mergeVocabStatistics(side)),
  );
}

/**
 * The loss in shards, as ranks would compute it, and the gradient put together. Each shard has other padding, full of NaN.
 *
 * @param ranks what the rank of each shard computes with; fewer than shards: over again.
 */
export function inShards(
  ranks: readonly ShardCalls[],
  block: EchoLossInput & { logits: Float32Array },
  options: LossOptions,
  { starts, dtype = "float32", gradientDtype }: Sharding,
): { results: EchoLossResult[]; gradient: Float32Array; entropies: Float32Array; parts: VocabStatistics[] } {
  const { targets } = block;
  const T = targets.length;
  const V = block.logits.length / T;
  const shards = starts.map((begin, i) => {
    const vocabSize = (starts[i + 1] ?? V) - begin;
    const ld = vocabSize + i;
    const values = new Float32Array(T * ld).fill(Number.NaN);
    for (let t = 0; t < T; t++)
      values.set(block.logits.subarray(t * V + begin, t * V + begin + vocabSize), t * ld);
    const logits = dtype === "float32" ? values : toBits(dtype, values);
    const calls = ranks[i % ranks.length];
    return { calls, place: { logits, dtype, vocabStart: begin, vocabSize, ld } };
  });
  const { temperature, logitSoftcap } = options;
  const entropy = options.entropy === true || (options.entropyCoefficient ?? 0) !== 0;
  const parts = shards.map(({ calls, place }) =>
    calls.vocabParallelStatistics({ ...place, targets, temperature, logitSoftcap, entropy }),
  );
  const statistics = reduce(ranks[0], parts);
  const entropies = new Float32Array(T);
  const results = shards.map(({ calls, place }) =>
    calls.vocabParallelEchoLoss({
      ...block,
      ...options,
      ...place,
      statistics,
      totalVocabSize: V,
      gradientDtype,
      entropiesOut: entropies,
    }),
  );
  const gradient = new Float32Array(T * V);
  for (const { logits, ld, vocabSize, vocabStart } of shards.map(({ place }) => place)) {
    const narrow = gradientDtype !== undefined;
    const bits = narrow ? new Uint16Array(logits.buffer, logits.byteOffset, 2 * logits.length) : logits;
    for (let t = 0; t < T; t++) {
      const from = t * ld * (narrow ? 2 : 1);
      const row = bits.subarray(from, from + ld);
      const values =
        row instanceof Uint16Array ? fromBits(dtype === "float32" ? "bfloat16" : dtype, row) : row;
      gradient.set(values.subarray(0, vocabSize), t * V + vocabStart);
      for (let j = vocabSize; j < ld; j++) expect(values[j]).toBe(0);
    }
  }
  return { results, gradient, entropies, parts };
}
