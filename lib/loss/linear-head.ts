import type { ComputeDevice } from "./compute-device.js";

/** A linear layer over the vocabulary without a bias, and its input: logits = hidden · weightᵀ. */
export interface LinearHead {
  /** [T, D]: float32, or a Uint16Array of the bits of bfloat16 numbers. */
  hidden: Float32Array | Uint16Array;
  /** [V, D], as in PyTorch and safetensors: float32, or a Uint16Array of the bits of bfloat16 numbers. */
  weight: Float32Array | Uint16Array;
  /** D */
  hiddenSize: number;
  /** Most bytes of logits in memory at once, at least one row. Default 64 MiB; of device tensors 1 GiB. */
  maxLogitsBytes?: number;
  /** Where to compute. Default: where the tensors are. */
  device?: ComputeDevice;
}
