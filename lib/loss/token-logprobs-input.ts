import type { LogitsBlock } from "./check-logits.js";

export interface TokenLogprobsInput extends LogitsBlock {
  /** Token of each row, [T]; a negative one skips its row, whose result is 0. */
  targets: Int32Array;
  /** Logits are divided by it. Default 1. */
  temperature?: number;
  /** As in `LossOptions`. Default false. */
  logitSoftcap?: number | false;
  /** Where to write the result, [T] float32; a new array without it. */
  logprobsOut?: Float32Array;
  /** Where to write the entropy of each row's distribution in nats, [T] float32. Default: nowhere, and it is not computed. */
  entropiesOut?: Float32Array;
}
