import { callNative } from "../native/call-native.js";
import { loadOrFallBack } from "../native/load-or-fall-back.js";
import { checkGradientDtype } from "./check-gradient-dtype.js";
import { checkLogits, type LogitsBlock } from "./check-logits.js";
import { checkLossRows } from "./check-loss-rows.js";
import { checkRows } from "./check-rows.js";
import { fallbackLoss } from "./fallback-loss.js";
import type { LossOptions } from "./loss-options.js";
import type { LossRows } from "./loss-rows.js";
import type { LossTotals } from "./loss-totals.js";
import { nativeLossRows } from "./native-loss-rows.js";
import { nonfiniteRowsOf } from "./nonfinite-rows-of.js";
import { resolveLossOptions } from "./resolve-loss-options.js";

const WHERE = "echoLoss";

export interface EchoLossInput extends LogitsBlock, LossRows, LossOptions {
  /** Boundaries of the packed sequences, [n + 1]; needed by options of whole sequences only. */
  cuSeqLens?: Int32Array;
  /**
   * `bfloat16` with float32 logits: the gradient is written as bfloat16 into the same memory. Row t then begins at the first byte of logits row t,
   * 2 · ld gradient elements after the row before; the second half of each row is undefined. Default: the type of the logits.
   */
  gradientDtype?: "float32" | "bfloat16" | "float16";
  /** Where to write the log-probabilities, [T] float32; a new array without it. */
  logprobsOut?: Float32Array;
  /** Where to write the entropies of action rows, [T] float32, with `entropy` or `entropyCoefficient`. Default: nowhere. */
  entropiesOut?: Float32Array;
}

export interface EchoLossResult {
  /** The whole loss: policyLoss + observationLoss + klLoss + entropyLoss of `metrics`. */
  loss: number;
  metrics: LossTotals;
  /** log p(target) of each weighted row at `temperature`, [T] float32; 0 on rows without weight. */
  logprobs: Float32Array;
  /** The rows that `metrics.nonfiniteRows` counts. */
  nonfiniteRows: number[];
}

/**
 * The loss L = L_GRPO(actions) + L_env(observations) of a block of logits, and its gradient in place of the logits. With
 * z = logits / temperature, lp = log softmax(z)[target], ρ = exp(lp - oldLogprob):
 *
 *     loss of a row  =  actionWeight · -min(ρA, clip(ρ, 1 - epsilonLow, 1 + epsilonHigh)A)  +  observationWeight · -lp
 *
 * (PPO's clipped surrogate, Schulman et al. 2017, in GRPO's use of it, Shao et al. 2024, plus ECHO's cross-entropy; docs/objective.md has
 * the formula of every option.) Rows with both weights 0 are not read, whatever is in them; their gradient is 0. A row of only -inf has
 * gradient 0, a row with NaN or +inf has gradient NaN; both are counted in `metrics.nonfiniteRows`.
 *
 * @throws ArgumentError, before anything is written: ERR_INVALID_TYPE, ERR_INVALID_DTYPE, ERR_INVALID_SHAPE, ERR_DETACHED,
 *   ERR_UNSUPPORTED (resizable buffer, options that exclude each other), ERR_OUT_OF_RANGE (option, or target on a weighted row), ERR_NON_FINITE
 *   (weight, advantage, log-probability), ERR_OVERLAP (a row that is both action and observation).
 * @throws NativeError when there is an addon and it cannot be loaded. Without one the float64 reference computes, after one warning.
 */
export function echoLoss(input: EchoLossInput): EchoLossResult {
  const targets = checkRows(WHERE, "targets", input.targets, Int32Array, undefined, "[T]");
  const T = targets.length;
  const { dtype, vocab, ld } = checkLogits(WHERE, input, T);
  const options = resolveLossOptions(WHERE, input);
  const gradientDtype = checkGradientDtype(WHERE, input.gradientDtype, dtype);
  const checked = checkLossRows(WHERE, input, T, vocab);
  const floats = (name: string, value: Float32Array): Float32Array =>
    checkRows(WHERE, name, value, Float32Array, T, "[T]");
  const logprobs =
    input.logprobsOut === undefined ? new Float32Array(T) : floats("logprobsOut", input.logprobsOut);
  const entropies = input.entropiesOut === undefined ? null : floats("entropiesOut", input.entropiesOut);
  const block = { logits: input.logits, dtype, vocab, ld };

  const native = loadOrFallBack();
  const metrics =
    native === undefined
      ? fallbackLoss({ ...block, gradientDtype, rows: checked, input, options, logprobs, entropies })
      : callNative(WHERE, () => {
          const rows = nativeLossRows(WHERE, checked, input, options, () => {
            const actions = targets.map((target, row) => (checked.actionWeights[row] === 0 ? -1 : target));
            const { temperature, logitSoftcap } = options;
            const result = new Float32Array(T);
            const plain = { temperature, logitSoftcap: logitSoftcap === false ? 0 : logitSoftcap };
            native.tokenLogprobs(block, actions, plain, result, null);
            return result;
          });
          return native.echoLoss({ ...block, gradientDtype }, rows, options, logprobs, entropies);
        });
  return {
    loss: metrics.policyLoss + metrics.observationLoss + metrics.klLoss + metrics.entropyLoss,
    metrics,
    logprobs,
    nonfiniteRows: nonfiniteRowsOf(metrics, logprobs),
  };
}
