/** AdamW and the global gradient norm over many tensors in one call. A Uint16Array holds the bits of bfloat16 numbers. */
export interface NativeOptim {
  /** Euclidean norm over all gradients, accumulated in float64 in fixed order; NaN or infinity when an entry is. */
  gradNorm(grads: readonly (Float32Array | Uint16Array)[]): number;
  /**
   * One AdamW step in PyTorch's order of operations. `gradScale` multiplies each gradient as it is read. All lists have one entry per
   * tensor; `step` counts from 1. A Uint16Array among `values` has a master, which is updated and rounded into it; the others have null.
   */
  adamwStep(
    values: readonly (Float32Array | Uint16Array)[],
    grads: readonly (Float32Array | Uint16Array)[],
    firstMoments: readonly Float32Array[],
    secondMoments: readonly Float32Array[],
    weightDecays: Float64Array,
    learningRate: number,
    beta1: number,
    beta2: number,
    eps: number,
    gradScale: number,
    step: number,
    masters: readonly (Float32Array | null)[],
  ): void;
}
