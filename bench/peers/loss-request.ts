/** What a JavaScript peer is asked to prepare: the loss on the first rows of `benchLogits`. */
export interface LossRequest {
  /** Rows. */
  T: number;
  V: number;
  rows: Record<
    "targets" | "actionWeights" | "observationWeights" | "advantages" | "oldLogprobs",
    readonly number[]
  >;
  /** Rows whose gradient is to come back. */
  check: readonly number[];
}
