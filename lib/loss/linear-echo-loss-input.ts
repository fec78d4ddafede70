import type { DeviceTensor } from "../cuda/device-tensor.js";
import type { DeviceLinearHead } from "./device-linear-head.js";
import type { LinearHead } from "./linear-head.js";
import type { LossOptions } from "./loss-options.js";
import type { LossRows } from "./loss-rows.js";

/** What `linearEchoLoss` takes besides the layer and its gradients. */
interface LinearRows extends LossRows, LossOptions {
  /** Boundaries of the packed sequences, [n + 1]; needed by options of whole sequences only. */
  cuSeqLens?: Int32Array;
  /** Where to write the log-probabilities, [T] float32; a new array without it. */
  logprobsOut?: Float32Array;
  /** Where to write the entropies of action rows, [T] float32, with `entropy` or `entropyCoefficient`. Default: nowhere. */
  entropiesOut?: Float32Array;
}

export interface LinearEchoLossInput extends LinearHead, LinearRows {
  /** Where to write the gradient of `hidden`, of its type and shape; may be `hidden` itself. A new array without it. */
  hiddenGradientOut?: Float32Array | Uint16Array;
  /** [V, D] float32, to which the gradient of `weight` is added; a new one without it. `false`: it is not computed. */
  weightGradient?: Float32Array | false;
}

/** The same on a GPU: tensors there, row vectors of the host. */
export interface DeviceLinearEchoLossInput extends DeviceLinearHead, LinearRows {
  /** Where to write the gradient of `hidden`, of its type and shape; may be `hidden` itself. A new tensor without it. */
  hiddenGradientOut?: DeviceLinearHead["hidden"];
  /** [V, D] float32, to which the gradient of `weight` is added; a new one without it. `false`: it is not computed. */
  weightGradient?: DeviceTensor | false;
}
