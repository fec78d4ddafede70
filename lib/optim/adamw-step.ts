/** Of a step on a GPU: reading any of them waits until the step has been decided there. */
export interface AdamWStep {
  /** Global norm before clipping. */
  readonly gradNorm: number;
  /** What the gradients were multiplied with. */
  readonly clipFactor: number;
  /** True: some gradient is NaN or infinite; nothing was changed. */
  readonly skipped: boolean;
}
