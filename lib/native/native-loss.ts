/** The fused loss as the addon sees it: memory safety is checked there, meaning in lib/loss. */
export interface NativeLoss {
  /**
   * Loss and gradient, in place. logits [rows, ld] float32; row vectors have `targets.length` entries.
   * Throws TypeError or RangeError before touching memory on a wrong type, length, detached or resizable buffer, or a target out of
   * range on a weighted row.
   */
  echoLoss(
    logits: Float32Array,
    vocab: number,
    ld: number,
    targets: Int32Array,
    actionWeights: Float32Array,
    observationWeights: Float32Array,
    advantages: Float32Array,
    oldLogprobs: Float32Array | null,
    temperature: number,
    epsilonLow: number,
    epsilonHigh: number,
    logRatioClamp: number,
    gradScale: number,
    nllAtOne: boolean,
    logprobsOut: Float32Array | null,
    /**
     * [12]: policyLoss, observationLoss, actionTokens, observationTokens, observationNllSum, observationNllAtOneSum, actionNllSum,
     * ratioSum, ratioMax, clippedLow, clippedHigh, nonfiniteRows.
     */
    totalsOut: Float64Array,
  ): void;
  /** Log-probabilities only; a negative target skips its row. */
  tokenLogprobs(
    logits: Float32Array,
    vocab: number,
    ld: number,
    targets: Int32Array,
    temperature: number,
    logprobsOut: Float32Array,
  ): void;
  /** x += 1 over [x.length / ld, ld], with the loss's schedule, threads and tier: the yardstick of bench/loss.ts. */
  benchInPlaceUpdate(x: Float32Array, ld: number): void;
}
