import type { Measurement } from "./measure.js";

/** Times of `factor` times the work, where what was measured is a part of it. */
export function scaleMeasurement(part: Measurement, factor: number): Measurement {
  return {
    ...part,
    medianMs: part.medianMs * factor,
    roundMs: part.roundMs.map((ms) => ms * factor),
    lowMs: part.lowMs * factor,
    highMs: part.highMs * factor,
    cpuMs: part.cpuMs * factor,
  };
}
