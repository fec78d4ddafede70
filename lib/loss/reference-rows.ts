/** `LossRows` in any precision. */
export interface ReferenceRows {
  targets: ArrayLike<number>;
  actionWeights: ArrayLike<number>;
  observationWeights: ArrayLike<number>;
  advantages: ArrayLike<number>;
  oldLogprobs?: ArrayLike<number>;
  samplerLogprobs?: ArrayLike<number>;
  referenceLogprobs?: ArrayLike<number>;
  onPolicy?: boolean;
  /** Boundaries of the sequences, [n + 1]; for options of whole sequences. Default: one sequence. */
  cuSeqLens?: ArrayLike<number>;
}
