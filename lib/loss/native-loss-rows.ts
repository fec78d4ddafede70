import { ArgumentError } from "../errors/argument-error.js";
import type { NativeLossRows } from "../native/native-loss.js";
import type { CheckedLossRows } from "./check-loss-rows.js";
import type { LossRows } from "./loss-rows.js";
import type { ResolvedLossOptions } from "./resolve-loss-options.js";
import { rolloutWeights } from "./rollout-weights.js";
import { sequenceLogRatios } from "./sequence-log-ratios.js";

/**
 * The row vectors as the kernel takes them: with the factors of `rolloutCorrection` and, for `ratioLevel: "sequence"`, the log-ratios of whole
 * sequences, for which the log-probabilities are computed first.
 *
 * @param logprobs log p of each action row at the call's temperature, [T]; called only when needed.
 * @throws ArgumentError as `rolloutWeights` and `sequenceLogRatios`; ERR_INVALID_TYPE for a KL penalty without `referenceLogprobs`.
 */
export function nativeLossRows(
  where: string,
  rows: CheckedLossRows,
  input: Pick<LossRows, "samplerLogprobs"> & { cuSeqLens?: Int32Array },
  options: ResolvedLossOptions,
  logprobs: () => Float32Array,
): NativeLossRows {
  const { actionWeights, oldLogprobs } = rows;
  if (options.klCoefficient !== 0 && rows.referenceLogprobs === null)
    throw new ArgumentError(
      "ERR_INVALID_TYPE",
      `[${where}] referenceLogprobs are missing: expected Float32Array [T] with klCoefficient ${options.klCoefficient}, got undefined. Compute them with the reference policy, or set klCoefficient to 0.`,
    );
  const { cuSeqLens, samplerLogprobs } = input;
  const native: NativeLossRows = { ...rows, onPolicy: oldLogprobs === null };
  if (options.rolloutCorrection)
    native.rolloutWeights = rolloutWeights(
      where,
      { actionWeights, oldLogprobs, samplerLogprobs, cuSeqLens },
      options.rolloutCorrection,
    );
  if (options.ratioLevel === "sequence") {
    const now = oldLogprobs === null ? new Float32Array(actionWeights.length) : logprobs();
    native.logRatios = sequenceLogRatios(where, {
      actionWeights,
      advantages: rows.advantages,
      logprobs: now,
      oldLogprobs: oldLogprobs ?? now,
      cuSeqLens,
    });
  }
  return native;
}
