import type { BenchRatio } from "./bench-ratio.js";

/** A ratio as two cells of a table: wall clock with its spread, and processor time. */
export function renderRatio({ cpu, high, low, wall }: BenchRatio): [wall: string, cpu: string] {
  return [`${show(wall)} (${show(low)} to ${show(high)})`, show(cpu)];
}

/** Two significant digits, and no exponent. */
function show(ratio: number): string {
  return ratio >= 10 ? String(Math.round(ratio)) : ratio.toPrecision(2);
}
