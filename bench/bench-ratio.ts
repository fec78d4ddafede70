import type { Measurement } from "./measure.js";
import { quantile } from "./quantile.js";

/** How many times as much `theirs` took as `ours`. */
export interface BenchRatio {
  /** Of wall-clock time: the median over the rounds they shared, with the least and the most. */
  wall: number;
  low: number;
  high: number;
  /** Of the least processor time. */
  cpu: number;
}

export function benchRatio(theirs: Measurement, ours: Measurement): BenchRatio {
  const ratios = theirs.roundMs.map((ms, round) => ms / ours.roundMs[round]);
  return {
    wall: quantile(ratios, 0.5),
    low: Math.min(...ratios),
    high: Math.max(...ratios),
    cpu: theirs.cpuMs / ours.cpuMs,
  };
}
