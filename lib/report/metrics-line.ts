import type { Metrics } from "./metrics.js";

/** One line of `metrics.jsonl` or `timings.jsonl`; docs/metrics.md documents every key. Numbers that are not finite become null. */
export function metricsLine(step: number, metrics: Metrics): string {
  const finite = Object.entries(metrics).map(([key, value]) => [
    key,
    typeof value === "number" && !Number.isFinite(value) ? null : value,
  ]);
  return `${JSON.stringify({ step, ...Object.fromEntries(finite) })}\n`;
}
