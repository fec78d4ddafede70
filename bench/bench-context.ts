import type { MeasureOptions } from "./measure.js";

/** How a benchmark is to run. */
export interface BenchContext {
  /** Least effort: to see that everything works, not to measure. */
  quick: boolean;
  /** The effort to use where `usual` is what measuring takes. */
  effort(usual: MeasureOptions): MeasureOptions;
}
