import type { LossTotals } from "../loss/loss-totals.js";
import type { ResolvedLossOptions } from "../loss/resolve-loss-options.js";
import type { NativeDeviceMemory } from "./native-cuda.js";
import type { NativeLossRows } from "./native-loss.js";

/** Of the host or of a device; all tensors of one call lie in the same place. */
type Tensor = Float32Array | Uint16Array | NativeDeviceMemory;

/** A linear layer over the vocabulary and its input. */
export interface NativeHead {
  /** [T, width] */
  hidden: Tensor;
  hiddenDtype: "float32" | "bfloat16";
  /** [vocab, width] */
  weight: Tensor;
  weightDtype: "float32" | "bfloat16";
  vocab: number;
  width: number;
  /** Rows of logits in memory at once. */
  chunkRows: number;
  /** Tensors of the host are copied to device 0 for the call, and what is written back. */
  upload?: boolean;
}

/** The loss behind a linear layer as the addon sees it: memory safety is checked there, meaning in lib/loss. */
export interface NativeLinearLoss {
  /** hiddenGradientOut may be `hidden`; weightGradient is added to. Throws as `NativeLoss.echoLoss`. */
  linearEchoLoss(
    head: NativeHead,
    rows: NativeLossRows,
    options: ResolvedLossOptions,
    hiddenGradientOut: Tensor,
    weightGradient: Float32Array | NativeDeviceMemory | null,
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
