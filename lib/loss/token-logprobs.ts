import { ArgumentError } from "../errors/argument-error.js";
import { callNative } from "../native/call-native.js";
import { loadOrFallBack } from "../native/load-or-fall-back.js";
import { checkLogits, type LogitsBlock } from "./check-logits.js";
import { checkRows } from "./check-rows.js";
import { fallbackLogprobs } from "./fallback-logprobs.js";
import { resolveLossOptions } from "./resolve-loss-options.js";

const WHERE = "tokenLogprobs";

export interface TokenLogprobsInput extends LogitsBlock {
  /** Token of each row, [T]; a negative one skips its row, whose result is 0. */
  targets: Int32Array;
  /** Logits are divided by it. Default 1. */
  temperature?: number;
  /** As in `LossOptions`. Default false. */
  logitSoftcap?: number | false;
  /** Where to write the result, [T] float32; a new array without it. */
  logprobsOut?: Float32Array;
  /** Where to write the entropy of each row's distribution in nats, [T] float32. Default: nowhere, and it is not computed. */
  entropiesOut?: Float32Array;
}

/**
 * log softmax(logits / temperature)[target] of each row, [T] float32: one read of the logits, nothing written to them. Bitwise equal to the
 * log-probabilities `echoLoss` reports for the same row.
 *
 * @throws ArgumentError ERR_INVALID_TYPE, ERR_INVALID_DTYPE, ERR_INVALID_SHAPE, ERR_DETACHED, ERR_UNSUPPORTED (resizable buffer),
 *   ERR_OUT_OF_RANGE (an option, or a target of V or more).
 * @throws NativeError when there is an addon and it cannot be loaded. Without one the float64 reference computes, after one warning.
 */
export function tokenLogprobs(input: TokenLogprobsInput): Float32Array {
  const targets = checkRows(WHERE, "targets", input.targets, Int32Array, undefined, "[T]");
  const { dtype, vocab, ld } = checkLogits(WHERE, input, targets.length);
  const { temperature, logitSoftcap } = resolveLossOptions(WHERE, {
    temperature: input.temperature,
    logitSoftcap: input.logitSoftcap,
  });
  const row = targets.findIndex((target) => target >= vocab);
  if (row >= 0)
    throw new ArgumentError(
      "ERR_OUT_OF_RANGE",
      `[${WHERE}] target out of range at row ${row}: expected at most ${vocab - 1}, got ${targets[row]}. A negative target skips its row.`,
    );
  const logprobs =
    input.logprobsOut === undefined
      ? new Float32Array(targets.length)
      : checkRows(WHERE, "logprobsOut", input.logprobsOut, Float32Array, targets.length, "[T]");
  const entropies =
    input.entropiesOut === undefined
      ? null
      : checkRows(WHERE, "entropiesOut", input.entropiesOut, Float32Array, targets.length, "[T]");
  const block = { logits: input.logits, dtype, vocab, ld };
  const native = loadOrFallBack();
  if (native === undefined)
    fallbackLogprobs(block, targets, { temperature, logitSoftcap }, logprobs, entropies);
  else {
    const plain = { temperature, logitSoftcap: logitSoftcap === false ? 0 : logitSoftcap };
    callNative(WHERE, () => native.tokenLogprobs(block, targets, plain, logprobs, entropies));
  }
  return logprobs;
}
