import type { EmbeddedDecoder } from "../model/embedded-decoder.js";

/** How an `EmbeddedPolicy` is set up. */
export interface EmbeddedPolicyOptions {
  /** The decoder whose weights are sampled from; memory is shared, nothing is copied. */
  model: EmbeddedDecoder;
  /**
   * Sequences that are sampled at once, each with a key-value cache of
   * 2 · layers · numKvHeads · headDim · maxContext float32 values. Default 64.
   */
  slots?: number;
  /** Longest sequence, context and sampled tokens together. Default: the model's `maxPositions`. */
  maxContext?: number;
  /** Most tokens in one forward pass; longer contexts are fed in pieces. Default 4096. */
  maxStepTokens?: number;
  /** First `version`: the one of the checkpoint when a run is resumed. Default 0. */
  version?: number;
}
