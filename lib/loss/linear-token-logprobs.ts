import { callNative } from "../native/call-native.js";
import { loadOrFallBack } from "../native/load-or-fall-back.js";
import { checkLinearHead } from "./check-linear-head.js";
import { checkRows } from "./check-rows.js";
import { checkSkippableTargets } from "./check-skippable-targets.js";
import type { DeviceLinearHead } from "./device-linear-head.js";
import { fallbackLinearLogprobs } from "./fallback-linear-logprobs.js";
import { hostHead } from "./host-head.js";
import type { LinearHead } from "./linear-head.js";
import { nativeLogprobsOptions } from "./native-logprobs-options.js";
import { resolveLossOptions } from "./resolve-loss-options.js";
import type { TokenLogprobsInput } from "./token-logprobs-input.js";

const WHERE = "linearTokenLogprobs";

/** A layer, the token of each row, and the options of `tokenLogprobs`. */
export interface LinearTokenLogprobsInput
  extends LinearHead,
    Pick<TokenLogprobsInput, "targets" | "temperature" | "logitSoftcap" | "logprobsOut" | "entropiesOut"> {}

/** The same on a GPU. */
export interface DeviceLinearTokenLogprobsInput
  extends DeviceLinearHead,
    Pick<TokenLogprobsInput, "targets" | "temperature" | "logitSoftcap" | "logprobsOut" | "entropiesOut"> {}

/**
 * `tokenLogprobs` on logits = hidden · weightᵀ without [T, V] logits in memory, [T] float32: rows go in chunks through one buffer, skipped ones
 * are left out. Bitwise equal to the log-probabilities `linearEchoLoss` reports for the same row; on a GPU up to
 * the products, whose order of sums cuBLASLt chooses by the number of rows.
 *
 * @throws ArgumentError as `tokenLogprobs`; ERR_INVALID_SHAPE for hidden and weight.
 * @throws NativeError when there is an addon and it cannot be loaded. Without one the float64 reference computes, after one warning, in the same
 *   chunks.
 */
export function linearTokenLogprobs(
  input: LinearTokenLogprobsInput | DeviceLinearTokenLogprobsInput,
): Float32Array {
  const targets = checkRows(WHERE, "targets", input.targets, Int32Array, undefined, "[T]");
  const T = targets.length;
  const head = checkLinearHead(WHERE, input, T);
  const { temperature, logitSoftcap } = resolveLossOptions(WHERE, {
    temperature: input.temperature,
    logitSoftcap: input.logitSoftcap,
  });
  checkSkippableTargets(WHERE, targets, head.vocab);
  const floats = (name: string, value: Float32Array): Float32Array =>
    checkRows(WHERE, name, value, Float32Array, T, "[T]");
  const logprobs =
    input.logprobsOut === undefined ? new Float32Array(T) : floats("logprobsOut", input.logprobsOut);
  const entropies = input.entropiesOut === undefined ? null : floats("entropiesOut", input.entropiesOut);
  const native = loadOrFallBack();
  if (native === undefined)
    fallbackLinearLogprobs(hostHead(head), targets, { temperature, logitSoftcap }, logprobs, entropies);
  else {
    const options = nativeLogprobsOptions({ temperature, logitSoftcap });
    callNative(WHERE, () => native.linearTokenLogprobs(head, targets, options, logprobs, entropies));
  }
  return logprobs;
}
