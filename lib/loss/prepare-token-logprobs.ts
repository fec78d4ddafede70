import { checkLogits, type LogitsDtype } from "./check-logits.js";
import { checkRows } from "./check-rows.js";
import { checkSkippableTargets } from "./check-skippable-targets.js";
import { type ResolvedLossOptions, resolveLossOptions } from "./resolve-loss-options.js";
import type { TokenLogprobsInput } from "./token-logprobs-input.js";

/** The input of `tokenLogprobs`, checked; nothing is written yet. */
export interface PreparedTokenLogprobs {
  block: { logits: Float32Array | Uint16Array; dtype: LogitsDtype; vocab: number; ld: number };
  targets: Int32Array;
  options: Pick<ResolvedLossOptions, "temperature" | "logitSoftcap">;
  logprobsOut: Float32Array | null;
  entropiesOut: Float32Array | null;
}

/** @throws ArgumentError as `tokenLogprobs`, whose checks these are. */
export function prepareTokenLogprobs(where: string, input: TokenLogprobsInput): PreparedTokenLogprobs {
  const targets = checkRows(where, "targets", input.targets, Int32Array, undefined, "[T]");
  const { dtype, vocab, ld } = checkLogits(where, input, targets.length);
  const { temperature, logitSoftcap } = resolveLossOptions(where, {
    temperature: input.temperature,
    logitSoftcap: input.logitSoftcap,
  });
  checkSkippableTargets(where, targets, vocab);
  const output = (name: "logprobsOut" | "entropiesOut"): Float32Array | null =>
    input[name] === undefined
      ? null
      : checkRows(where, name, input[name], Float32Array, targets.length, "[T]");
  return {
    block: { logits: input.logits, dtype, vocab, ld },
    targets,
    options: { temperature, logitSoftcap },
    logprobsOut: output("logprobsOut"),
    entropiesOut: output("entropiesOut"),
  };
}
