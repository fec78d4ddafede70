/** What `AdamW` remembers between steps, for checkpoints. */
export interface AdamWState {
  /** Updates made so far; skipped steps do not count. */
  stepCount: number;
  /** Steps skipped because a gradient was not finite. */
  skippedSteps: number;
  /** Running mean and mean square of each parameter's gradient, by its name; shapes as the parameter. */
  moments: Record<string, { first: Float32Array; second: Float32Array }>;
  /** Float32 master of each bfloat16 parameter, by its name. Absent when there is none. */
  masters?: Record<string, Float32Array>;
}
