import type { LogitsDtype } from "./check-logits.js";
import type { CheckedLossRows } from "./check-loss-rows.js";
import type { LossOptions } from "./loss-options.js";
import type { LossRows } from "./loss-rows.js";
import type { LossTotals } from "./loss-totals.js";
import { nativeLossRows } from "./native-loss-rows.js";
import { referenceLoss } from "./reference.js";
import type { ResolvedLossOptions } from "./resolve-loss-options.js";
import { widenLogits } from "./widen-logits.js";
import { writeGradient } from "./write-gradient.js";

/** Arguments of `echoLoss` that have been checked. */
export interface FallbackLossInput {
  /** [T, ld] of `dtype`; the gradient takes its place. */
  logits: Float32Array | Uint16Array;
  dtype: LogitsDtype;
  vocab: number;
  ld: number;
  gradientDtype: LogitsDtype;
  rows: CheckedLossRows;
  /** What options of whole sequences and of the sampler read. */
  input: Pick<LossRows, "samplerLogprobs"> & { cuSeqLens?: Int32Array };
  options: ResolvedLossOptions;
  /** [T] float32, written. */
  logprobs: Float32Array;
  /** [T] float32, written unless null. */
  entropies: Float32Array | null;
}

/** [T, V] of [T, ld], without a copy where they are the same. */
function dense(logits: Float32Array, rows: number, vocab: number, ld: number): Float32Array {
  if (ld === vocab) return logits;
  const values = new Float32Array(rows * vocab);
  for (let t = 0; t < rows; t++) values.set(logits.subarray(t * ld, t * ld + vocab), t * vocab);
  return values;
}

/**
 * What the addon's `echoLoss` does, by the float64 reference: gradient in place, rounded to float32 once, and from there to `gradientDtype`.
 * @throws ArgumentError as `echoLoss` with the addon.
 */
export function fallbackLoss(input: FallbackLossInput): LossTotals {
  const { vocab, ld, rows, options, logprobs, entropies } = input;
  const logits = widenLogits(input.logits, input.dtype);
  const T = rows.targets.length;
  const reference = (change: LossOptions): ReturnType<typeof referenceLoss> =>
    referenceLoss({
      logits: dense(logits, T, vocab, ld),
      rows: {
        ...rows,
        oldLogprobs: rows.oldLogprobs ?? undefined,
        referenceLogprobs: rows.referenceLogprobs ?? undefined,
        samplerLogprobs: input.input.samplerLogprobs,
        cuSeqLens: input.input.cuSeqLens,
        onPolicy: rows.oldLogprobs === null,
      },
      vocabSize: vocab,
      options: { ...options, ...change },
    });
  // For its checks: what it computes, the reference computes by itself.
  nativeLossRows("echoLoss", rows, input.input, options, () =>
    Float32Array.from(reference({ ratioLevel: "token" }).logprobs),
  );
  const { gradient, totals, ...result } = reference({});
  logprobs.set(result.logprobs);
  entropies?.set(result.entropies);
  writeGradient(gradient, input.logits, { rows: T, vocab, ld, gradientDtype: input.gradientDtype });
  return totals;
}
