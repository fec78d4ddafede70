import { SandboxError } from "../errors/sandbox-error.js";
import type { Metrics } from "../report/metrics.js";
import type { RolloutProgress } from "../rollout/rollout-pool.js";
import type { Trajectory } from "../rollout/trajectory.js";
import { collectRollouts } from "./collect-rollouts.js";
import { filterObservations } from "./filter-observations.js";
import { lossMetrics } from "./loss-metrics.js";
import { makeMinibatches } from "./make-minibatches.js";
import { type OptimizerStepOutcome, optimizerStep } from "./optimizer-step.js";
import { policyLossOptions } from "./policy-loss-options.js";
import { rolloutMetrics } from "./rollout-metrics.js";
import { scoreGroups } from "./score-groups.js";
import type { StepClock } from "./step-clock.js";
import type { TrainingRun } from "./training-run.js";

export interface PolicyStepHooks {
  clock: StepClock;
  onRollout(progress: RolloutProgress): void;
  onOptimizerStep(done: number, total: number): void;
  onCleanupFailure(error: Error): void;
}

/** One training step of GRPO or ECHO: tasks, rollouts, advantages, optimiser steps on minibatches, new weights to the policy. */
export async function policyStep(
  run: TrainingRun,
  step: number,
  hooks: PolicyStepHooks,
): Promise<{ metrics: Metrics; tokens: number; trajectories: Trajectory[] }> {
  const { config, parts } = run;
  const groups = await hooks.clock.time("rollout", () => collectRollouts(run, step, hooks));
  const trajectories = groups.flat();
  const scored = scoreGroups(groups, { normalize: config.advantageNormalize, envOnly: config.envOnly });
  const rollouts = scored.flat();
  if (rollouts.length === 0) throw nothingScored(trajectories, step);
  const { dropped, metrics: filterMetrics } = filterObservations(
    scored.map((group) => group.map(({ trajectory }) => trajectory)),
    config.observationFilter,
  );
  const lambda = run.lambda(step - 1);

  const outcomes: OptimizerStepOutcome[] = [];
  await hooks.clock.time("optimise", async () => {
    for (let epoch = 0; epoch < config.epochsPerStep; epoch++) {
      const size = config.minibatchSequences;
      const minibatches = makeMinibatches(rollouts, { seed: config.seed, step, epoch, size });
      for (const [index, minibatch] of minibatches.entries()) {
        const outcome = await optimizerStep(
          {
            model: parts.model,
            reference: run.reference,
            optimizer: run.optimizer,
            learningRate: run.learningRate(run.optimizerSteps),
            microBatchTokens: config.microBatchTokens,
          },
          {
            sequences: minibatch.map(({ sequence }) => sequence),
            lambda,
            aggregation: config.aggregation,
            maxLength: config.maxLength,
            observationDenominator: config.observationDenominator,
            observationEpsilon: config.observationEpsilon,
            observationTargets: config.observationTargets,
            maxObservationTokens: config.maxObservationTokens,
            observationWeight: ({ sequenceIndex }) =>
              dropped.has(minibatch[sequenceIndex].trajectory) ? 0 : 1,
            envOnly: config.envOnly,
            // Only here did the very weights that learn also sample; afterwards the sampler's log-probabilities are the old ones.
            onPolicy: epoch === 0 && index === 0,
          },
          policyLossOptions(config),
        );
        run.optimizerSteps++;
        outcomes.push(outcome);
        hooks.onOptimizerStep(outcomes.length, minibatches.length * config.epochsPerStep);
      }
    }
    await parts.policy.update();
  });
  const metrics: Metrics = {
    exact: run.exact && trajectories.every((trajectory) => trajectory.exact),
    ...rolloutMetrics(groups),
    ...filterMetrics,
    "loss/lambda": lambda,
    ...lossMetrics(outcomes, {
      epochs: config.epochsPerStep,
      policy: !config.envOnly,
      dualClip: config.dualClip !== false,
      observations: config.observationTargets === "observations",
    }),
  };
  return { metrics, tokens: trajectories.reduce((sum, { ids }) => sum + ids.length, 0), trajectories };
}

function nothingScored(trajectories: readonly Trajectory[], step: number): SandboxError {
  const first = trajectories.find((trajectory) => trajectory.error !== undefined);
  return new SandboxError(
    "ERR_SANDBOX_GONE",
    `[train] every rollout of step ${step} was excluded: expected at least 1 of ${trajectories.length} to be scored, got none. The first failure: ${first?.error?.message ?? first?.stopReason ?? "none recorded"} Mend it and resume the run.`,
  );
}
