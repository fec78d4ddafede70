import type { LogitsDtype } from "./check-logits.js";
import { softcap } from "./softcap.js";
import type { VocabStatistics } from "./vocab-statistics.js";
import { widenLogits } from "./widen-logits.js";

const LARGEST_FLOAT32 = (2 - 2 ** -23) * 2 ** 127;

/**
 * What the addon's `vocabStatistics` does, in float64. Logits are [T, ld].
 *
 * @param statistics filled; targets are of the whole vocabulary, a negative one skips its row.
 */
export function fallbackVocabStatistics(
  block: { logits: Float32Array | Uint16Array; dtype: LogitsDtype; vocab: number; ld: number },
  targets: Int32Array,
  options: { temperature: number; logitSoftcap: number | false; vocabStart: number },
  statistics: VocabStatistics,
): void {
  const { dtype, ld, vocab } = block;
  const { temperature, logitSoftcap, vocabStart } = options;
  statistics.max.fill(-LARGEST_FLOAT32);
  statistics.sum.fill(0);
  statistics.targetLogits.fill(-Infinity);
  statistics.weighted?.fill(0);
  for (const [t, target] of targets.entries()) {
    if (target < 0) continue;
    const row = widenLogits(block.logits.subarray(t * ld, t * ld + vocab), dtype);
    const x = row.map((logit) => softcap(logit, logitSoftcap));
    const place = target - vocabStart;
    if (place >= 0 && place < vocab) {
      statistics.targetLogits[t] = x[place];
      x[place] = -Infinity;
    }
    // A NaN is no maximum; the sum is NaN then.
    let max = -LARGEST_FLOAT32;
    for (const logit of x) if (logit > max) max = logit;
    let sum = 0;
    let weighted = 0;
    for (const logit of x) {
      const a = (logit - max) / temperature;
      const e = Math.exp(a);
      sum += e;
      // 0 · -Infinity adds nothing.
      if (e !== 0) weighted += a * Math.LOG2E * e;
    }
    statistics.max[t] = max;
    statistics.sum[t] = sum;
    if (statistics.weighted !== null) statistics.weighted[t] = weighted;
  }
}
