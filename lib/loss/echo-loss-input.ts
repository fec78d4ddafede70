import type { LogitsBlock } from "./check-logits.js";
import type { LossOptions } from "./loss-options.js";
import type { LossRows } from "./loss-rows.js";

export interface EchoLossInput extends LogitsBlock, LossRows, LossOptions {
  /** Boundaries of the packed sequences, [n + 1]; needed by options of whole sequences only. */
  cuSeqLens?: Int32Array;
  /**
   * `bfloat16` with float32 logits: the gradient is written as bfloat16 into the same memory. Row t then begins at the first byte of logits row t,
   * 2 · ld gradient elements after the row before; the second half of each row is undefined. Default: the type of the logits.
   */
  gradientDtype?: "float32" | "bfloat16" | "float16";
  /** Where to write the log-probabilities, [T] float32; a new array without it. */
  logprobsOut?: Float32Array;
  /** Where to write the entropies of action rows, [T] float32, with `entropy` or `entropyCoefficient`. Default: nowhere. */
  entropiesOut?: Float32Array;
}
