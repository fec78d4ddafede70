/**
 * Per-row inputs of `echoLoss` for a packed micro-batch of T rows. Row t scores the token after it, so everything
 * here is already shifted; the last row of each sequence weighs 0. Normalisers of the whole optimiser step are
 * folded into the weights, so micro-batches add up to the full step.
 */
export interface LossRows {
  /** Next token of each row, [T]; any value where both weights are 0. */
  targets: Int32Array;
  /** Weight of the policy term, [T]: 1 / (N · |A_i|) on action targets, else 0. */
  actionWeights: Float32Array;
  /** Weight of -log p, [T]: λ / (N · |O_i|) on observation targets, else 0. */
  observationWeights: Float32Array;
  /** Advantage of each row, [T]; read where `actionWeights` is not 0. */
  advantages: Float32Array;
  /** Log-probability of each target under the old policy, [T]; absent only with `onPolicy`. */
  oldLogprobs?: Float32Array;
  /** Log-probability of each target as sampled, [T]; read with `rolloutCorrection`. */
  samplerLogprobs?: Float32Array;
  /** Log-probability of each target under the reference policy of the KL penalty, [T]; with it the KL is at least measured. */
  referenceLogprobs?: Float32Array;
  /** True: the ratio is exactly 1 by construction (first minibatch of the first epoch). */
  onPolicy?: boolean;
}
