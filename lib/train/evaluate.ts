import { evaluateSuccess } from "../eval/evaluate-success.js";
import { observationNll } from "../eval/observation-nll.js";
import type { Metrics } from "../report/metrics.js";
import type { Progress } from "../report/progress.js";
import { rolloutLimits } from "./rollout-limits.js";
import type { TrainingRun } from "./training-run.js";

/** What `evaluate` needs of a run. */
export type EvaluatedRun = Pick<TrainingRun, "config" | "parts" | "exact" | "step" | "expertTrajectories">;

/** Measures a run's policy on held-out tasks: the same tasks and random numbers whenever it is called. */
export async function evaluate(run: EvaluatedRun, progress: Progress): Promise<Metrics> {
  const { config, parts } = run;
  const metrics: Metrics = { exact: run.exact };
  if (config.eval.tasks > 0) {
    const report = await evaluateSuccess({
      family: parts.family,
      split: config.eval.split,
      tasks: config.eval.tasks,
      samples: config.eval.samples,
      policy: parts.policy,
      harness: parts.harness,
      sandboxes: parts.sandboxes,
      temperature: config.eval.temperature,
      seed: config.seed,
      concurrency: config.concurrency,
      limits: rolloutLimits(config),
      onProgress: ({ done, total }) => progress.phase(run.step, `evaluation ${done}/${total}`),
    });
    metrics.exact = run.exact && report.exact;
    if (report.rate !== undefined) metrics["eval/success"] = report.rate;
    const families = Object.entries(report.byFamily);
    if (families.length > 1)
      for (const [family, { rate }] of families)
        if (rate !== undefined) metrics[`eval/success/${family}`] = rate;
    if (report.excluded > 0) metrics["eval/excluded"] = report.excluded;
  }
  if (run.expertTrajectories.length > 0) {
    progress.phase(run.step, "observation nll");
    const { nll } = await observationNll({
      model: parts.model,
      trajectories: run.expertTrajectories,
      maxTokens: config.microBatchTokens,
    });
    if (nll !== undefined) metrics["eval/observation_nll"] = nll;
  }
  return metrics;
}
