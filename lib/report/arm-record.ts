import type { Metrics } from "./metrics.js";

/** What one arm of a comparison reported, step by step; entry 0 is the evaluation before the first step. */
export interface ArmRecord {
  steps: { step: number; metrics: Metrics; timings: Metrics }[];
}
