import type { ArmRecord } from "./arm-record.js";
import type { Metrics } from "./metrics.js";

/** What an arm came to. */
export interface ArmSummary {
  /** Success rate on the held-out tasks after the last step, and the best of all evaluations. */
  success: number;
  bestSuccess: number;
  bestStep: number;
  /** Nats per observation token of the expert's held-out trajectories, after the last step. */
  observationNll: number;
  /** Share of a step's tokens that carry a gradient, mean over the steps. */
  gradientTokenShare: number;
  /** Median seconds of a step, rollouts included, evaluations and checkpoints not. */
  secondsPerStep: number;
}

/** GRPO and ECHO from the same start. */
export interface Comparison {
  start: { success: number; observationNll: number };
  grpo: ArmSummary;
  echo: ArmSummary;
  /** First evaluated step at which ECHO's success is at least GRPO's best; absent when it never was. */
  echoReachesGrpoBestAt?: number;
  /** The least observation nll any model can reach on these trajectories. */
  observationFloor?: number;
  steps: number;
}

function value(metrics: Metrics, key: string): number {
  const found = metrics[key];
  return typeof found === "number" ? found : Number.NaN;
}

function summarise(arm: ArmRecord): ArmSummary {
  const trained = arm.steps.filter(({ step }) => step > 0);
  const evaluated = trained.filter(({ metrics }) => typeof metrics["eval/success"] === "number");
  const best = evaluated.reduce((a, b) =>
    value(b.metrics, "eval/success") > value(a.metrics, "eval/success") ? b : a,
  );
  const last = evaluated[evaluated.length - 1];
  const seconds = trained
    .map(({ timings }) => value(timings, "time/rollout") + value(timings, "time/optimise"))
    .sort((a, b) => a - b);
  const shares = trained.map(({ metrics }) => value(metrics, "gradient_token_share"));
  return {
    success: value(last.metrics, "eval/success"),
    bestSuccess: value(best.metrics, "eval/success"),
    bestStep: best.step,
    observationNll: value(last.metrics, "eval/observation_nll"),
    gradientTokenShare: shares.reduce((sum, share) => sum + share, 0) / shares.length,
    secondsPerStep: seconds[Math.floor(seconds.length / 2)],
  };
}

/** Both arms must have been evaluated at step 0 and at least once after it. */
export function compareArms(grpo: ArmRecord, echo: ArmRecord, observationFloor?: number): Comparison {
  const start = grpo.steps[0].metrics;
  const best = summarise(grpo);
  const reached = echo.steps.find(
    ({ step, metrics }) => step > 0 && value(metrics, "eval/success") >= best.bestSuccess,
  );
  return {
    start: {
      success: value(start, "eval/success"),
      observationNll: value(start, "eval/observation_nll"),
    },
    grpo: best,
    echo: summarise(echo),
    ...(reached ? { echoReachesGrpoBestAt: reached.step } : {}),
    ...(observationFloor === undefined ? {} : { observationFloor }),
    steps: grpo.steps[grpo.steps.length - 1].step,
  };
}
