import { mergeLossTotals } from "../loss/merge-loss-totals.js";
import type { Metrics } from "../report/metrics.js";
import type { OptimizerStepOutcome } from "./optimizer-step.js";

/**
 * The `loss/`, `observation/`, `policy/`, `optim/` and token keys of a training step from its optimiser steps (docs/metrics.md).
 * @param options.epochs passes over the same sequences; tokens are counted once.
 * @param options.policy whether there is a policy term: not in imitation, and not with observations alone.
 * @param options.dualClip whether the policy term has one. Default false.
 * @param options.observations whether the targets of the observation term are observations and nothing else.
 */
export function lossMetrics(
  outcomes: readonly OptimizerStepOutcome[],
  options: { epochs: number; policy: boolean; dualClip?: boolean; observations: boolean },
): Metrics {
  const totals = mergeLossTotals(outcomes.map((outcome) => outcome.totals));
  const mean = (value: (outcome: OptimizerStepOutcome) => number): number =>
    outcomes.reduce((sum, outcome) => sum + value(outcome), 0) / outcomes.length;
  const count = (value: (outcome: OptimizerStepOutcome) => number): number =>
    outcomes.reduce((sum, outcome) => sum + value(outcome), 0) / options.epochs;
  const metrics: Metrics = {};
  if (options.policy) {
    metrics["loss/policy"] = mean((outcome) => outcome.totals.policyLoss);
    if (totals.klSum !== undefined) metrics["loss/kl"] = mean((outcome) => outcome.totals.klLoss);
    if (totals.entropySum !== undefined)
      metrics["loss/entropy"] = mean((outcome) => outcome.totals.entropyLoss);
  }
  metrics["loss/observation"] = mean((outcome) => outcome.totals.observationLoss);
  if (totals.nonfiniteRows > 0) metrics["loss/nonfinite_rows"] = totals.nonfiniteRows;
  if (totals.observationTokens > 0 && totals.observationNllAtOneSum !== undefined)
    metrics[options.observations ? "observation/nll" : "observation/target_nll"] =
      totals.observationNllAtOneSum / totals.observationTokens;
  metrics["observation/tokens"] = count((outcome) => outcome.counts.observationTokens);
  metrics["action/tokens"] = count((outcome) => outcome.counts.actionTokens);
  const tokens = count((outcome) => outcome.counts.tokens);
  metrics.gradient_token_share = count((outcome) => outcome.counts.gradientTokens) / tokens;
  if (totals.actionTokens > 0) {
    metrics["policy/action_nll"] = totals.actionNllSum / totals.actionTokens;
    if (options.policy) {
      metrics["policy/ratio_mean"] = totals.ratioSum / totals.actionTokens;
      metrics["policy/ratio_max"] = totals.ratioMax;
      metrics["policy/clip_fraction_low"] = totals.clippedLow / totals.actionTokens;
      metrics["policy/clip_fraction_high"] = totals.clippedHigh / totals.actionTokens;
      if (options.dualClip) metrics["policy/clip_fraction_dual"] = totals.clippedDual / totals.actionTokens;
      if (totals.klSum !== undefined) metrics["policy/kl"] = totals.klSum / totals.actionTokens;
      if (totals.entropySum !== undefined)
        metrics["policy/entropy"] = totals.entropySum / totals.actionTokens;
    }
  }
  metrics["optim/lr"] = outcomes[outcomes.length - 1].learningRate;
  metrics["optim/grad_norm"] = mean((outcome) => outcome.gradNorm);
  metrics["optim/skipped"] = outcomes.filter((outcome) => outcome.skipped).length;
  return metrics;
}
