import type { LossTotals } from "../loss/loss-totals.js";
import type { ResolvedLossOptions } from "../loss/resolve-loss-options.js";
import type { NativeDeviceMemory } from "./native-cuda.js";

/** Row vectors, [T] each. */
export interface NativeLossRows {
  targets: Int32Array;
  actionWeights: Float32Array;
  observationWeights: Float32Array;
  advantages: Float32Array;
  oldLogprobs?: Float32Array | null;
  onPolicy?: boolean;
  /** Log-ratio of each row, whatever its log-probability. */
  logRatios?: Float32Array;
  /** Factor on the policy term. */
  rolloutWeights?: Float32Array;
  referenceLogprobs?: Float32Array | null;
}

/** A block of logits, [T, ld]. */
export interface NativeBlock {
  logits: Float32Array | Uint16Array | NativeDeviceMemory;
  dtype: "float32" | "bfloat16" | "float16";
  vocab: number;
  ld: number;
  /** Logits of the host are copied to device 0 for the call, and their gradient back. */
  upload?: boolean;
}

/** What a shard of the vocabulary, or all, say of each row, [T] each; native/loss/vocab_statistics.h. */
export interface NativeVocabStatistics {
  max: Float32Array;
  sum: Float64Array;
  targetLogits: Float32Array;
  weighted: Float64Array | null;
}

/** The fused loss as the addon sees it: memory safety is checked there, meaning in lib/loss. */
export interface NativeLoss {
  /**
   * Loss and gradient, in place. Throws TypeError or RangeError before touching memory on a wrong type, length, detached or resizable
   * buffer, or a target out of range on a weighted row.
   */
  echoLoss(
    block: NativeBlock & {
      gradientDtype: NativeBlock["dtype"];
      /** The block is tokens begin .. begin + vocab - 1 of `total`. */
      shard?: { begin: number; total: number; statistics: NativeVocabStatistics };
    },
    rows: NativeLossRows,
    options: ResolvedLossOptions,
    logprobsOut: Float32Array | null,
    entropiesOut: Float32Array | null,
  ): LossTotals;
  /** Log-probabilities only; a negative target skips its row. logitSoftcap 0: none. */
  tokenLogprobs(
    block: NativeBlock,
    targets: Int32Array,
    options: { temperature: number; logitSoftcap: number },
    logprobsOut: Float32Array,
    entropiesOut: Float32Array | null,
  ): void;
  /** Fills `statistics`; targets are of the whole vocabulary, a negative one skips its row. */
  vocabStatistics(
    block: NativeBlock,
    targets: Int32Array,
    options: { temperature: number; logitSoftcap: number; vocabStart: number },
    statistics: NativeVocabStatistics,
  ): void;
  /** x += 1 over [x.length / ld, ld], with the loss's schedule, threads and tier: the yardstick of bench/loss.ts. */
  benchInPlaceUpdate(x: Float32Array, ld: number): void;
}
