import { benchLogit } from "./bench-logits.js";

/** Row vectors of the loss, [T] each. */
export interface BenchRows {
  targets: Int32Array;
  actionWeights: Float32Array;
  observationWeights: Float32Array;
  advantages: Float32Array;
  oldLogprobs: Float32Array;
}

/** How far the old log-probabilities lie from those of `benchLogits`: within the clip, so that every action row has a gradient. */
const DRIFT = 0.1;

/** Rows for `benchLogits(T, V)`, of which `weighted` carry a weight, spread evenly, actions and observations by turns. */
export function benchRows(T: number, V: number, weighted: number): BenchRows {
  let sum = 0;
  for (let j = 0; j < V; j++) sum += Math.exp(benchLogit(V, 0, j));
  const targets = Int32Array.from({ length: T }, (_, t) => (t * 7919) % V);
  const carries = Array.from({ length: T }, (_, t) => (t * weighted) % T < weighted);
  let nth = 0;
  const kinds = carries.map((carried) => (carried ? nth++ % 2 : -1));
  const weights = (kind: number): Float32Array =>
    Float32Array.from(kinds, (each) => (each === kind ? 1 / T : 0));
  return {
    targets,
    actionWeights: weights(0),
    observationWeights: weights(1),
    advantages: Float32Array.from(targets, (_, t) => (t % 4 < 2 ? 1 : -1)),
    oldLogprobs: Float32Array.from(
      targets,
      (target, t) => benchLogit(V, t, target) - Math.log(sum) + DRIFT * Math.sin(t),
    ),
  };
}
