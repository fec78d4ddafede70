import type { NativeBlock } from "../native/native-loss.js";
import { checkGradientDtype } from "./check-gradient-dtype.js";
import { checkLogits, type LogitsDtype } from "./check-logits.js";
import { type CheckedLossRows, checkLossRows } from "./check-loss-rows.js";
import { checkRows } from "./check-rows.js";
import type { EchoLossInput } from "./echo-loss-input.js";
import { placeCall, placeTensor } from "./place-call.js";
import { type ResolvedLossOptions, resolveLossOptions } from "./resolve-loss-options.js";

/** The input of `echoLoss`, checked; nothing is written yet. */
export interface PreparedEchoLoss {
  block: NativeBlock & { gradientDtype: LogitsDtype };
  rows: CheckedLossRows;
  options: ResolvedLossOptions;
  logprobsOut: Float32Array | null;
  entropiesOut: Float32Array | null;
}

/**
 * @param totalVocab tokens that targets may name; default: those of the block.
 * @throws ArgumentError as `echoLoss`, whose checks these are; NativeError ERR_CUDA_UNAVAILABLE.
 */
export function prepareEchoLoss(where: string, input: EchoLossInput, totalVocab?: number): PreparedEchoLoss {
  const targets = checkRows(where, "targets", input.targets, Int32Array, undefined, "[T]");
  const T = targets.length;
  const { dtype, vocab, ld } = checkLogits(where, input, T);
  const options = resolveLossOptions(where, input);
  const gradientDtype = checkGradientDtype(where, input.gradientDtype, dtype);
  const rows = checkLossRows(where, input, T, totalVocab ?? vocab);
  const output = (name: "logprobsOut" | "entropiesOut"): Float32Array | null =>
    input[name] === undefined ? null : checkRows(where, name, input[name], Float32Array, T, "[T]");
  const logprobsOut = output("logprobsOut");
  const entropiesOut = output("entropiesOut");
  const place = placeCall(where, input.logits, input.device);
  const logits = placeTensor(where, input.logits);
  return {
    block: { logits, dtype, vocab, ld, gradientDtype, ...place },
    rows,
    options,
    logprobsOut,
    entropiesOut,
  };
}
