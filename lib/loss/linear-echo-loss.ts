import { callNative } from "../native/call-native.js";
import { checkDisjoint } from "../native/check-disjoint.js";
import { loadOrFallBack } from "../native/load-or-fall-back.js";
import { actionTargets } from "./action-targets.js";
import { checkLinearHead } from "./check-linear-head.js";
import { checkLossRows } from "./check-loss-rows.js";
import { checkRows } from "./check-rows.js";
import { type EchoLossResult, echoLossResult } from "./echo-loss-result.js";
import { fallbackLinearLoss } from "./fallback-linear-loss.js";
import type { LinearHead } from "./linear-head.js";
import type { LossOptions } from "./loss-options.js";
import type { LossRows } from "./loss-rows.js";
import { nativeLogprobsOptions } from "./native-logprobs-options.js";
import { nativeLossRows } from "./native-loss-rows.js";
import { resolveLossOptions } from "./resolve-loss-options.js";

const WHERE = "linearEchoLoss";

export interface LinearEchoLossInput extends LinearHead, LossRows, LossOptions {
  /** Boundaries of the packed sequences, [n + 1]; needed by options of whole sequences only. */
  cuSeqLens?: Int32Array;
  /** Where to write the gradient of `hidden`, of its type and shape; may be `hidden` itself. A new array without it. */
  hiddenGradientOut?: Float32Array | Uint16Array;
  /** [V, D] float32, to which the gradient of `weight` is added; a new one without it. `false`: it is not computed. */
  weightGradient?: Float32Array | false;
  /** Where to write the log-probabilities, [T] float32; a new array without it. */
  logprobsOut?: Float32Array;
  /** Where to write the entropies of action rows, [T] float32, with `entropy` or `entropyCoefficient`. Default: nowhere. */
  entropiesOut?: Float32Array;
}

export interface LinearEchoLossResult extends EchoLossResult {
  /** Gradient of `hidden`, [T, D], in its type; 0 on rows without weight. */
  hiddenGradient: Float32Array | Uint16Array;
  /** Gradient of `weight` added up, [V, D] float32; absent with `weightGradient: false`. */
  weightGradient?: Float32Array;
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
 * @throws NativeError when there is an addon and it cannot be loaded. Without one the float64 reference computes, after one warning, with all
 *   logits in memory.
 */
export function linearEchoLoss(input: LinearEchoLossInput): LinearEchoLossResult {
  const targets = checkRows(WHERE, "targets", input.targets, Int32Array, undefined, "[T]");
  const T = targets.length;
  const head = checkLinearHead(WHERE, input, T);
  const { hidden, weight } = head;
  const options = resolveLossOptions(WHERE, input);
  const checked = checkLossRows(WHERE, input, T, head.vocab);
  const floats = (name: string, value: Float32Array, length: number, shape: string): Float32Array =>
    checkRows(WHERE, name, value, Float32Array, length, shape);
  const logprobs =
    input.logprobsOut === undefined
      ? new Float32Array(T)
      : floats("logprobsOut", input.logprobsOut, T, "[T]");
  const entropies =
    input.entropiesOut === undefined ? null : floats("entropiesOut", input.entropiesOut, T, "[T]");
  const kind = hidden instanceof Uint16Array ? Uint16Array : Float32Array;
  const hiddenGradient =
    input.hiddenGradientOut === undefined
      ? new kind(hidden.length)
      : checkRows<Float32Array | Uint16Array>(
          WHERE,
          "hiddenGradientOut",
          input.hiddenGradientOut,
          kind,
          hidden.length,
          "[T, D]",
        );
  const given = input.weightGradient;
  const weightGradient =
    given === false
      ? null
      : given === undefined
        ? new Float32Array(weight.length)
        : floats("weightGradient", given, weight.length, "[V, D]");
  const written = [hiddenGradient, logprobs, weightGradient, entropies].filter((array) => array !== null);
  checkDisjoint(WHERE, written, hiddenGradient === hidden ? [weight] : [weight, hidden]);

  const native = loadOrFallBack();
  const metrics =
    native === undefined
      ? fallbackLinearLoss({
          head,
          rows: checked,
          input,
          options,
          hiddenGradient,
          weightGradient,
          logprobs,
          entropies,
        })
      : callNative(WHERE, () => {
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
          return native.linearEchoLoss(
            head,
            rows,
            options,
            hiddenGradient,
            weightGradient,
            logprobs,
            entropies,
          );
        });
  return {
    ...echoLossResult(metrics, logprobs),
    hiddenGradient,
    ...(weightGradient === null ? {} : { weightGradient }),
  };
}
