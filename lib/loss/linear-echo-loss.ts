import { DeviceTensor } from "../cuda/device-tensor.js";
import { callNative } from "../native/call-native.js";
import { loadOrFallBack } from "../native/load-or-fall-back.js";
import { actionTargets } from "./action-targets.js";
import { checkLinearHead } from "./check-linear-head.js";
import { checkLossRows } from "./check-loss-rows.js";
import { checkRows } from "./check-rows.js";
import type { DeviceLinearHead } from "./device-linear-head.js";
import { type EchoLossResult, echoLossResult } from "./echo-loss-result.js";
import { fallbackLinearLoss } from "./fallback-linear-loss.js";
import { hostHead } from "./host-head.js";
import type { DeviceLinearEchoLossInput, LinearEchoLossInput } from "./linear-echo-loss-input.js";
import { type LinearGradients, linearGradients } from "./linear-gradients.js";
import type { LossTotals } from "./loss-totals.js";
import { nativeLogprobsOptions } from "./native-logprobs-options.js";
import { nativeLossRows } from "./native-loss-rows.js";
import { placeTensor } from "./place-call.js";
import { resolveLossOptions } from "./resolve-loss-options.js";

const WHERE = "linearEchoLoss";

export interface LinearEchoLossResult extends EchoLossResult {
  /** Gradient of `hidden`, [T, D], in its type; 0 on rows without weight. */
  hiddenGradient: Float32Array | Uint16Array;
  /** Gradient of `weight` added up, [V, D] float32; absent with `weightGradient: false`. */
  weightGradient?: Float32Array;
}

/** What `linearEchoLoss` returns for a layer on a GPU. */
export interface DeviceLinearEchoLossResult extends EchoLossResult {
  /** Gradient of `hidden`, [T, D], in its type; 0 on rows without weight. */
  hiddenGradient: DeviceLinearHead["hidden"];
  /** Gradient of `weight` added up, [V, D] float32; absent with `weightGradient: false`. */
  weightGradient?: DeviceTensor;
}

/**
 * `echoLoss` on logits = hidden · weightᵀ, and the gradients of both, without [T, V] logits ever being in memory: rows go in chunks through one
 * buffer of at most `maxLogitsBytes`, rows without weight are left out. Products and sums are float32, each number one chain of
 * fused multiply-adds; so no gradient depends on the chunks or the number of threads. Reported sums may differ in the last bit with
 * the chunks.
 *
 * With `ratioLevel: "sequence"` the log-probabilities are computed first, which takes the forward product twice.
 *
 * @throws ArgumentError, before anything is written: as `echoLoss`; ERR_INVALID_SHAPE for hidden, weight and their gradients; ERR_OVERLAP
 *   when an array that is written shares memory with another, but for `hiddenGradientOut` that is `hidden`.
 * @throws NativeError when there is an addon and it cannot be loaded. Without one the float64 reference computes, after one warning, in the same
 *   chunks; then the reported sums do not depend on them either.
 */
export function linearEchoLoss(input: LinearEchoLossInput): LinearEchoLossResult;
export function linearEchoLoss(input: DeviceLinearEchoLossInput): DeviceLinearEchoLossResult;
export function linearEchoLoss(
  input: LinearEchoLossInput | DeviceLinearEchoLossInput,
): LinearEchoLossResult | DeviceLinearEchoLossResult {
  const targets = checkRows(WHERE, "targets", input.targets, Int32Array, undefined, "[T]");
  const T = targets.length;
  const head = checkLinearHead(WHERE, input, T);
  const options = resolveLossOptions(WHERE, input);
  const checked = checkLossRows(WHERE, input, T, head.vocab);
  const floats = (name: string, value: Float32Array): Float32Array =>
    checkRows(WHERE, name, value, Float32Array, T, "[T]");
  const logprobs =
    input.logprobsOut === undefined ? new Float32Array(T) : floats("logprobsOut", input.logprobsOut);
  const entropies = input.entropiesOut === undefined ? null : floats("entropiesOut", input.entropiesOut);
  const rowVectors = entropies === null ? [logprobs] : [logprobs, entropies];
  const gradients = linearGradients(WHERE, input, rowVectors);

  const native = loadOrFallBack();
  let metrics: LossTotals;
  if (native === undefined) {
    const { hidden, weight } = gradients as Extract<LinearGradients, { hidden: Float32Array | Uint16Array }>;
    const outputs = { hiddenGradient: hidden, weightGradient: weight, logprobs, entropies };
    metrics = fallbackLinearLoss({
      where: WHERE,
      head: hostHead(head),
      rows: checked,
      input,
      options,
      ...outputs,
    });
  } else {
    const hiddenGradient = placeTensor(WHERE, gradients.hidden);
    const weightGradient =
      gradients.weight instanceof DeviceTensor ? gradients.weight.memory(WHERE) : gradients.weight;
    metrics = callNative(WHERE, () => {
      const rows = nativeLossRows(WHERE, checked, input, options, () => {
        const result = new Float32Array(T);
        native.linearTokenLogprobs(
          head,
          actionTargets(checked),
          nativeLogprobsOptions(options),
          result,
          null,
        );
        return result;
      });
      return native.linearEchoLoss(head, rows, options, hiddenGradient, weightGradient, logprobs, entropies);
    });
  }
  const weightGradient = gradients.weight === null ? {} : { weightGradient: gradients.weight };
  const result = {
    ...echoLossResult(metrics, logprobs),
    hiddenGradient: gradients.hidden,
    ...weightGradient,
  };
  return result as LinearEchoLossResult | DeviceLinearEchoLossResult;
}
