import { callNative } from "../native/call-native.js";
import { loadOrFallBack } from "../native/load-or-fall-back.js";
import { checkLogits, type LogitsBlock } from "./check-logits.js";
import { checkLossRows } from "./check-loss-rows.js";
import { checkRows } from "./check-rows.js";
import { fallbackLoss } from "./fallback-loss.js";
import type { LossOptions } from "./loss-options.js";
import type { LossRows } from "./loss-rows.js";
import type { LossTotals } from "./loss-totals.js";
import { resolveLossOptions } from "./resolve-loss-options.js";

const WHERE = "echoLoss";

export interface EchoLossInput extends LogitsBlock, LossRows, LossOptions {
  /** Where to write the log-probabilities, [T] float32; a new array without it. */
  logprobsOut?: Float32Array;
}

export interface EchoLossResult {
  metrics: LossTotals;
  /** log p(target) of each weighted row at `temperature`, [T] float32; 0 on rows without weight. */
  logprobs: Float32Array;
}

/**
 * The loss L = L_GRPO(actions) + L_env(observations) of a block of logits, and its gradient in place of the logits. With
 * z = logits / temperature, lp = log softmax(z)[target], ρ = exp(lp - oldLogprob):
 *
 *     loss of a row  =  actionWeight · -min(ρA, clip(ρ, 1 - epsilonLow, 1 + epsilonHigh)A)  +  observationWeight · -lp
 *
 * (PPO's clipped surrogate, Schulman et al. 2017, in GRPO's use of it, Shao et al. 2024, plus ECHO's cross-entropy.) Rows with both weights 0
 * are not read, whatever is in them; their gradient is 0. A row of only -inf has gradient 0, a row with NaN or +inf has gradient NaN; both are
 * counted in `metrics.nonfiniteRows`.
 *
 * @throws ArgumentError, before anything is written: ERR_INVALID_TYPE, ERR_INVALID_DTYPE, ERR_INVALID_SHAPE, ERR_DETACHED,
 *   ERR_UNSUPPORTED (resizable buffer), ERR_OUT_OF_RANGE (option, or target on a weighted row), ERR_NON_FINITE (weight, advantage,
 *   oldLogprob), ERR_OVERLAP (a row that is both action and observation).
 * @throws NativeError when there is an addon and it cannot be loaded. Without one the float64 reference computes, after one warning.
 */
export function echoLoss(input: EchoLossInput): EchoLossResult {
  const targets = checkRows(WHERE, "targets", input.targets, Int32Array, undefined, "[T]");
  const rows = targets.length;
  const { vocab, ld } = checkLogits(WHERE, input, rows);
  const options = resolveLossOptions(WHERE, input);
  const checked = checkLossRows(WHERE, input, rows, vocab);
  const { actionWeights, observationWeights, advantages, oldLogprobs } = checked;
  const logprobs =
    input.logprobsOut === undefined
      ? new Float32Array(rows)
      : checkRows(WHERE, "logprobsOut", input.logprobsOut, Float32Array, rows, "[T]");

  const native = loadOrFallBack();
  if (native === undefined) {
    const metrics = fallbackLoss({ logits: input.logits, vocab, ld, rows: checked, options, logprobs });
    return { metrics, logprobs };
  }
  const totals = new Float64Array(12);
  callNative(WHERE, () =>
    native.echoLoss(
      input.logits,
      vocab,
      ld,
      targets,
      actionWeights,
      observationWeights,
      advantages,
      oldLogprobs,
      options.temperature,
      options.epsilonLow,
      options.epsilonHigh,
      options.logRatioClamp === false ? Number.POSITIVE_INFINITY : options.logRatioClamp,
      options.gradScale,
      options.nllAtOne,
      logprobs,
      totals,
    ),
  );
  return { metrics: toLossTotals(totals, options.temperature === 1 || options.nllAtOne), logprobs };
}

function toLossTotals(totals: Float64Array, hasNllAtOne: boolean): LossTotals {
  const metrics: LossTotals = {
    policyLoss: totals[0],
    observationLoss: totals[1],
    actionTokens: totals[2],
    observationTokens: totals[3],
    observationNllSum: totals[4],
    actionNllSum: totals[6],
    ratioSum: totals[7],
    ratioMax: totals[8],
    clippedLow: totals[9],
    clippedHigh: totals[10],
    nonfiniteRows: totals[11],
  };
  if (hasNllAtOne) metrics.observationNllAtOneSum = totals[5];
  return metrics;
}
