import type { NativeDeviceMemory } from "./native-cuda.js";

/** AdamW over tensors of a device. Keeps their memory until it is disposed or collected. */
export interface NativeDeviceOptimizer {
  readonly deviceOptimizer: unique symbol;
}

type Memories = readonly NativeDeviceMemory[];

/** AdamW and the gradient norm by the CUDA library. All memory of a call is of one device and stream. */
export interface NativeDeviceOptim {
  /** One entry per tensor in every list; `masters` has null where the value is float32. Throws ERR_OVERLAP as `adamwStep`. */
  createDeviceOptimizer(
    values: Memories,
    grads: Memories,
    firstMoments: Memories,
    secondMoments: Memories,
    masters: readonly (NativeDeviceMemory | null)[],
    weightDecays: Float64Array,
  ): NativeDeviceOptimizer;
  /** Queued; waits only until the step before has decided whether it is taken. Infinite `maxGradNorm`: no clipping. */
  stepDeviceOptimizer(
    optimizer: NativeDeviceOptimizer,
    learningRate: number,
    beta1: number,
    beta2: number,
    eps: number,
    maxGradNorm: number,
  ): void;
  /** Of the last step, for whose decision it waits. `step`: updates so far; `skipped`: those left out since the optimiser was made. */
  deviceOptimizerResult(
    optimizer: NativeDeviceOptimizer,
  ): [norm: number, step: number, skipped: number, taken: boolean];
  /** From which later steps count. */
  setDeviceOptimizerStep(optimizer: NativeDeviceOptimizer, step: number): void;
  disposeDeviceOptimizer(optimizer: NativeDeviceOptimizer): void;
  /** `bfloat16`: 1 for a gradient of such numbers, 0 for float32. Waits. */
  deviceGradNorm(grads: Memories, bfloat16: Uint16Array): number;
}
