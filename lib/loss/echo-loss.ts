import { callNative } from "../native/call-native.js";
import { loadOrFallBack } from "../native/load-or-fall-back.js";
import { actionTargets } from "./action-targets.js";
import type { EchoLossInput } from "./echo-loss-input.js";
import { type EchoLossResult, echoLossResult } from "./echo-loss-result.js";
import { fallbackLoss } from "./fallback-loss.js";
import { hostBlock } from "./host-block.js";
import { nativeLogprobsOptions } from "./native-logprobs-options.js";
import { nativeLossRows } from "./native-loss-rows.js";
import { prepareEchoLoss } from "./prepare-echo-loss.js";

const WHERE = "echoLoss";

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
 * @throws NativeError when there is an addon and it cannot be loaded. Without one the float64 reference computes, after one warning. On a GPU
 *   also ERR_CUDA_UNAVAILABLE, ERR_CUDA, ERR_CUDA_OUT_OF_MEMORY; ERR_DISPOSED is an ArgumentError.
 */
export function echoLoss(input: EchoLossInput): EchoLossResult {
  const { block, rows, options, logprobsOut, entropiesOut: entropies } = prepareEchoLoss(WHERE, input);
  const T = rows.targets.length;
  const logprobs = logprobsOut ?? new Float32Array(T);
  const native = loadOrFallBack();
  if (native === undefined)
    return echoLossResult(
      fallbackLoss({ ...hostBlock(block), where: WHERE, rows, input, options, logprobs, entropies }),
      logprobs,
    );
  const metrics = callNative(WHERE, () => {
    const vectors = nativeLossRows(WHERE, rows, input, options, () => {
      const result = new Float32Array(T);
      native.tokenLogprobs(block, actionTargets(rows), nativeLogprobsOptions(options), result, null);
      return result;
    });
    return native.echoLoss(block, vectors, options, logprobs, entropies);
  });
  return echoLossResult(metrics, logprobs);
}
