import { callNative } from "../native/call-native.js";
import { loadOrFallBack } from "../native/load-or-fall-back.js";
import { fallbackLogprobs } from "./fallback-logprobs.js";
import { hostBlock } from "./host-block.js";
import { nativeLogprobsOptions } from "./native-logprobs-options.js";
import { prepareTokenLogprobs } from "./prepare-token-logprobs.js";
import type { TokenLogprobsInput } from "./token-logprobs-input.js";

const WHERE = "tokenLogprobs";

/**
 * log softmax(logits / temperature)[target] of each row, [T] float32: one read of the logits, nothing written to them. Bitwise equal to the
 * log-probabilities `echoLoss` reports for the same row.
 *
 * @throws ArgumentError ERR_INVALID_TYPE, ERR_INVALID_DTYPE, ERR_INVALID_SHAPE, ERR_DETACHED, ERR_UNSUPPORTED (resizable buffer),
 *   ERR_OUT_OF_RANGE (an option, or a target of V or more).
 * @throws NativeError when there is an addon and it cannot be loaded. Without one the float64 reference computes, after one warning.
 */
export function tokenLogprobs(input: TokenLogprobsInput): Float32Array {
  const {
    block,
    targets,
    options,
    logprobsOut,
    entropiesOut: entropies,
  } = prepareTokenLogprobs(WHERE, input);
  const logprobs = logprobsOut ?? new Float32Array(targets.length);
  const native = loadOrFallBack();
  if (native === undefined) fallbackLogprobs(hostBlock(block), targets, options, logprobs, entropies);
  else
    callNative(WHERE, () =>
      native.tokenLogprobs(block, targets, nativeLogprobsOptions(options), logprobs, entropies),
    );
  return logprobs;
}
