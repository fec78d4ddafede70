/** Whole sequences laid end to end. */
export interface PackedSequences {
  /** Token ids, [T]. */
  ids: Int32Array;
  /** Sequence boundaries, [n + 1]: sequence i is rows cuSeqLens[i] .. cuSeqLens[i + 1] - 1. */
  cuSeqLens: Int32Array;
}
