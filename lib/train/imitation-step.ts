import { ConfigError } from "../errors/config-error.js";
import type { Metrics } from "../report/metrics.js";
import { lossMetrics } from "./loss-metrics.js";
import { optimizerStep } from "./optimizer-step.js";
import type { StepClock } from "./step-clock.js";
import type { TrainingRun } from "./training-run.js";

/** One training step of SFT: cross-entropy on the actions of a batch of recorded trajectories, and on their observations if weighed. */
export async function imitationStep(
  run: TrainingRun,
  step: number,
  clock: StepClock,
): Promise<{ metrics: Metrics; tokens: number }> {
  const { config, parts, imitation } = run;
  if (!imitation || !config.sft)
    throw new ConfigError("ERR_CONFIG", '[config] "sft": expected an object, for algorithm sft.');
  const { observationWeight } = config.sft;
  const outcome = await clock.time("optimise", async () => {
    const result = await optimizerStep(
      {
        model: parts.model,
        optimizer: run.optimizer,
        learningRate: run.learningRate(run.optimizerSteps),
        microBatchTokens: config.microBatchTokens,
      },
      {
        sequences: imitation.batch(step),
        objective: "imitation",
        lambda: observationWeight,
        aggregation: config.aggregation,
        maxLength: config.maxLength,
        observationDenominator: config.observationDenominator,
        observationEpsilon: config.observationEpsilon,
        observationTargets: config.observationTargets,
        maxObservationTokens: config.maxObservationTokens,
      },
      {},
    );
    await parts.policy.update();
    return result;
  });
  run.optimizerSteps++;
  const observations = config.observationTargets === "observations";
  const metrics = { exact: run.exact, ...lossMetrics([outcome], { epochs: 1, policy: false, observations }) };
  return { metrics, tokens: outcome.counts.tokens };
}
