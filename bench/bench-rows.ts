/** Row vectors of the loss, [T] each. */
export interface BenchRows {
  targets: Int32Array;
  actionWeights: Float32Array;
  observationWeights: Float32Array;
  advantages: Float32Array;
  oldLogprobs: Float32Array;
}

/** Rows of which `weighted` carry a weight, spread evenly, actions and observations by turns. */
export function benchRows(T: number, V: number, weighted: number): BenchRows {
  const carries = Array.from({ length: T }, (_, t) => (t * weighted) % T < weighted);
  let nth = 0;
  const odd = carries.map((carried) => (carried ? nth++ % 2 : -1));
  const weight = (kind: number): Float32Array =>
    Float32Array.from(odd, (each) => (each === kind ? 1 / T : 0));
  return {
    targets: Int32Array.from({ length: T }, (_, t) => (t * 7919) % V),
    actionWeights: weight(0),
    observationWeights: weight(1),
    advantages: new Float32Array(T).fill(1),
    oldLogprobs: new Float32Array(T).fill(-12),
  };
}
