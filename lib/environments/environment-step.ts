import type { Segment } from "../tokens/segment.js";

/** The answer to one action. */
export interface EnvironmentStep {
  /** In the order in which the agent reads them. Roles: observation, warning or context. */
  segments: Segment[];
  /** True: the task is over (submitted, solved, dead end); `score()` is meaningful. */
  done: boolean;
  /** False when something other than the agent's own action shaped the answer (a wall-clock kill); the step is then not reproducible. */
  exact: boolean;
  /**
   * How the action was written. `clean`; `untidy`: understood and run, with warnings about its form before the output; `refused`: not
   * understood or not allowed, nothing was run. Absent: `clean`.
   */
  form?: "clean" | "untidy" | "refused";
}
