import type { LossOptions } from "./loss-options.js";
import { softcap } from "./softcap.js";

/** What the objective asks of one row: of a whole vocabulary, or of one shard of it. */
export interface RowDistribution {
  /** [V] of the row, or of the shard, before softcap and temperature. */
  logits: ArrayLike<number>;
  /** Of the same tokens among all of the vocabulary, [V]. */
  probabilities: ArrayLike<number>;
  /** Where the target is among them; negative when it is in another shard. */
  target: number;
  /** log p of the target; -Infinity on an empty row. */
  logprob: number;
  /** The same at temperature 1; 0 where no option asks for it. */
  logprobAtOne(): number;
  /** -Σ p log p over all of the vocabulary; 0 on an empty row. */
  entropy: number;
  /** Every logit of the vocabulary is -Infinity: there is no distribution. */
  empty: boolean;
}

type Softmax = Pick<RowDistribution, "probabilities" | "logprob" | "entropy">;

function softmax(logits: readonly number[], target: number, temperature: number): Softmax {
  const z = logits.map((logit) => logit / temperature);
  const max = z.reduce((a, b) => Math.max(a, b), -Infinity);
  const exponentials = z.map((value) => Math.exp(value - max));
  const sum = exponentials.reduce((a, b) => a + b, 0);
  const probabilities = exponentials.map((value) => value / sum);
  const entropy = probabilities.reduce(
    (total, p, j) => (p === 0 ? total : total - p * (z[j] - max - Math.log(sum))),
    0,
  );
  return { logprob: z[target] - max - Math.log(sum), probabilities, entropy };
}

/** The softmax of one row of logits, [V], as it is written down, in float64. */
export function rowDistribution(
  logits: ArrayLike<number>,
  target: number,
  options: Pick<LossOptions, "temperature" | "logitSoftcap" | "nllAtOne">,
): RowDistribution {
  const { temperature = 1, logitSoftcap = false, nllAtOne = false } = options;
  const capped = Array.from(logits, (x) => softcap(x, logitSoftcap));
  const empty = capped.every((logit) => logit === -Infinity);
  const { logprob, entropy, probabilities } = softmax(capped, target, temperature);
  return {
    logits,
    probabilities,
    target,
    logprob: empty ? -Infinity : logprob,
    logprobAtOne: () => (temperature === 1 ? logprob : nllAtOne ? softmax(capped, target, 1).logprob : 0),
    entropy: empty ? 0 : entropy,
    empty,
  };
}
