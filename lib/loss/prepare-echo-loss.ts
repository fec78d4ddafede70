import { checkGradientDtype } from "./check-gradient-dtype.js";
import { checkLogits, type LogitsDtype } from "./check-logits.js";
import { type CheckedLossRows, checkLossRows } from "./check-loss-rows.js";
import { checkRows } from "./check-rows.js";
import type { EchoLossInput } from "./echo-loss-input.js";
import { type ResolvedLossOptions, resolveLossOptions } from "./resolve-loss-options.js";

/** The input of `echoLoss`, checked; nothing is written yet. */
export interface PreparedEchoLoss {
  block: {
    logits: Float32Array | Uint16Array;
    dtype: LogitsDtype;
    vocab: number;
    ld: number;
    gradientDtype: LogitsDtype;
  };
  rows: CheckedLossRows;
  options: ResolvedLossOptions;
  logprobsOut: Float32Array | null;
  entropiesOut: Float32Array | null;
}

/**
 * @param totalVocab tokens that targets may name; default: those of the block.
 * @throws ArgumentError as `echoLoss`, whose checks these are.
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
  return {
    block: { logits: input.logits, dtype, vocab, ld, gradientDtype },
    rows,
    options,
    logprobsOut: output("logprobsOut"),
    entropiesOut: output("entropiesOut"),
  };
}
