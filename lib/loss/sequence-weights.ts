/** Weights of the tokens of one sequence, in float64, before they are rounded once into the rows of a micro-batch. */
export interface SequenceWeights {
  /** Weight of each token's policy term, [L]; 0 on every token that is not an action. */
  action: Float64Array;
  /** Weight of each token's -log p, [L]; 0 on every token that is no target. */
  observation: Float64Array;
}
