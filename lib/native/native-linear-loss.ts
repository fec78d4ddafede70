import type { LossTotals } from "../loss/loss-totals.js";
import type { ResolvedLossOptions } from "../loss/resolve-loss-options.js";
import type { NativeLossRows } from "./native-loss.js";

/** A linear layer over the vocabulary and its input. */
export interface NativeHead {
  /** [T, width] */
  hidden: Float32Array | Uint16Array;
  hiddenDtype: "float32" | "bfloat16";
  /** [vocab, width] */
  weight: Float32Array | Uint16Array;
  weightDtype: "float32" | "bfloat16";
  vocab: number;
  width: number;
  /** Rows of logits in memory at once. */
  chunkRows: number;
}

/** The loss behind a linear layer as the addon sees it: memory safety is checked there, meaning in lib/loss. */
export interface NativeLinearLoss {
  /** hiddenGradientOut may be `hidden`; weightGradient is added to. Throws as `NativeLoss.echoLoss`. */
  linearEchoLoss(
    head: NativeHead,
    rows: NativeLossRows,
    options: ResolvedLossOptions,
    hiddenGradientOut: Float32Array | Uint16Array,
    weightGradient: Float32Array | null,
    logprobsOut: Float32Array,
    entropiesOut: Float32Array | null,
  ): LossTotals;
  /** A negative target skips its row; logitSoftcap 0: none. */
  linearTokenLogprobs(
    head: NativeHead,
    targets: Int32Array,
    options: { temperature: number; logitSoftcap: number },
    logprobsOut: Float32Array,
    entropiesOut: Float32Array | null,
  ): void;
}
