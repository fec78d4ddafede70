import type { CheckedLossRows } from "./check-loss-rows.js";
import type { LossRows } from "./loss-rows.js";
import { nativeLossRows } from "./native-loss-rows.js";
import { type ReferenceObjective, referenceObjective } from "./reference-objective.js";
import type { ResolvedLossOptions } from "./resolve-loss-options.js";

/** What the loss is computed from without the addon, besides the logits: checked, and written only at the end. */
export interface FallbackRows {
  /** Name of the call in messages. */
  where: string;
  rows: CheckedLossRows;
  /** What options of whole sequences and of the sampler read. */
  input: Pick<LossRows, "samplerLogprobs"> & { cuSeqLens?: Int32Array };
  options: ResolvedLossOptions;
  /** [T] float32, written. */
  logprobs: Float32Array;
  /** [T] float32, written unless null. */
  entropies: Float32Array | null;
}

/** The float64 reference for rows that were checked for the addon. @throws ArgumentError as `nativeLossRows`. */
export function fallbackObjective(
  { where, rows, input, options }: FallbackRows,
  now: () => ArrayLike<number>,
): ReferenceObjective {
  // For its checks: what it computes, the reference computes by itself.
  nativeLossRows(where, rows, input, options, () => new Float32Array(rows.targets.length));
  const { samplerLogprobs, cuSeqLens } = input;
  const reference = {
    ...rows,
    oldLogprobs: rows.oldLogprobs ?? undefined,
    referenceLogprobs: rows.referenceLogprobs ?? undefined,
    samplerLogprobs,
    cuSeqLens,
    onPolicy: rows.oldLogprobs === null,
  };
  return referenceObjective(reference, options, now);
}
