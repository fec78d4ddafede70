/** AdamW and the global gradient norm over many tensors in one call. */
export interface NativeOptim {
  /** Euclidean norm over all gradients, accumulated in float64 in fixed order; NaN or infinity when an entry is. */
  gradNorm(grads: readonly Float32Array[]): number;
  /**
   * One AdamW step in PyTorch's order of operations. `gradScale` multiplies each gradient as it is read. All lists have one entry per
   * tensor; `step` counts from 1.
   */
  adamwStep(
    values: readonly Float32Array[],
    grads: readonly Float32Array[],
    firstMoments: readonly Float32Array[],
    secondMoments: readonly Float32Array[],
    weightDecays: Float64Array,
    learningRate: number,
    beta1: number,
    beta2: number,
    eps: number,
    gradScale: number,
    step: number,
  ): void;
}
