import type { LogitsDtype } from "./check-logits.js";
import { type FallbackRows, fallbackObjective } from "./fallback-objective.js";
import { isWeighted } from "./is-weighted.js";
import type { LossTotals } from "./loss-totals.js";
import { type RowDistribution, rowDistribution } from "./row-distribution.js";
import { shardDistribution, type VocabShard } from "./shard-distribution.js";
import { widenLogits } from "./widen-logits.js";
import { writeGradient } from "./write-gradient.js";

/** Arguments of `echoLoss` or `vocabParallelEchoLoss` that have been checked. */
export interface FallbackLossInput extends FallbackRows {
  /** [T, ld] of `dtype`; the gradient takes its place. */
  logits: Float32Array | Uint16Array;
  dtype: LogitsDtype;
  vocab: number;
  ld: number;
  gradientDtype: LogitsDtype;
  /** Without one the logits are of the whole vocabulary. */
  shard?: VocabShard;
}

/**
 * What the addon's `echoLoss` does, by the float64 reference, one row at a time: gradient in place, rounded to float32 once, and from there to
 * `gradientDtype`.
 * @throws ArgumentError as `echoLoss` with the addon, before anything is written.
 */
export function fallbackLoss(input: FallbackLossInput): LossTotals {
  const { dtype, gradientDtype, ld, logits, options, rows, shard, vocab } = input;
  const distribution = (t: number): RowDistribution => {
    const row = widenLogits(logits.subarray(t * ld, t * ld + vocab), dtype);
    const target = rows.targets[t];
    return shard === undefined
      ? rowDistribution(row, target, options)
      : shardDistribution(row, target, t, shard, options);
  };
  const objective = fallbackObjective(input, () =>
    Float64Array.from(rows.actionWeights, (weight, t) => (weight === 0 ? 0 : distribution(t).logprob)),
  );
  for (let t = 0; t < rows.targets.length; t++) {
    const gradient = isWeighted(rows, t) ? objective.add(t, distribution(t)) : new Float64Array(vocab);
    writeGradient(gradient, logits, t, { ld, gradientDtype });
  }
  input.logprobs.set(objective.logprobs);
  input.entropies?.set(objective.entropies);
  return objective.totals();
}
