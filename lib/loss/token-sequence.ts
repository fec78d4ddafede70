/** One whole rollout as the loss sees it. All arrays have one entry per token, aligned with `ids`. */
export interface TokenSequence {
  /** Token ids, [L]. */
  ids: Int32Array;
  /** `ROLE_CODE` of every token, [L]. */
  roles: Uint8Array;
  /** Group-relative advantage of the rollout, applied to each of its action tokens. */
  advantage: number;
  /**
   * log p(ids[t] | ids[<t]) at the sampling temperature under the policy before this optimiser step, [L]; read on action tokens only.
   * Absent: the step must be declared `onPolicy`.
   */
  oldLogprobs?: Float32Array;
  /** The same quantity as the sampler reported it, [L]; kept beside `oldLogprobs` for importance correction. */
  samplerLogprobs?: Float32Array;
}
