/** Options of the objective that do not depend on the row. */
export interface LossOptions {
  /** Sampling temperature; logits are divided by it, as the sampler did. Default 1. */
  temperature?: number;
  /** Lower clip: ratios below 1 - epsilonLow. Default 0.2. */
  epsilonLow?: number;
  /** Upper clip: ratios above 1 + epsilonHigh. Default 0.2. */
  epsilonHigh?: number;
  /** |log ratio| is clamped to this, with zero gradient outside; `false` turns it off. Default 20. */
  logRatioClamp?: number | false;
  /** Also compute the negative log-likelihood at temperature 1 on weighted observation rows. Default false. */
  nllAtOne?: boolean;
  /** Factor on the gradient only, never on the reported losses. Default 1. */
  gradScale?: number;
}
