import type { Measurement } from "./measure.js";
import { quantile } from "./quantile.js";
import type { Sample } from "./sample.js";

/** The rounds of one case, as one measurement. */
export function summarize(name: string, rounds: readonly Sample[]): Measurement {
  const samples = rounds.flatMap(({ samplesMs }) => samplesMs);
  return {
    name,
    medianMs: quantile(samples, 0.5),
    roundMs: rounds.map(({ samplesMs }) => quantile(samplesMs, 0.5)),
    lowMs: quantile(samples, 0.2),
    highMs: quantile(samples, 0.8),
    cpuMs: Math.min(...rounds.map(({ cpuMs }) => cpuMs)),
    samples: samples.length,
  };
}
