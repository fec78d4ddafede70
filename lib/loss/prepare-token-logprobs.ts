import type { NativeBlock } from "../native/native-loss.js";
import { checkLogits } from "./check-logits.js";
import { checkRows } from "./check-rows.js";
import { checkSkippableTargets } from "./check-skippable-targets.js";
import { placeCall, placeTensor } from "./place-call.js";
import { type ResolvedLossOptions, resolveLossOptions } from "./resolve-loss-options.js";
import type { TokenLogprobsInput } from "./token-logprobs-input.js";

/** The input of `tokenLogprobs`, checked; nothing is written yet. */
export interface PreparedTokenLogprobs {
  block: NativeBlock;
  targets: Int32Array;
  options: Pick<ResolvedLossOptions, "temperature" | "logitSoftcap">;
  logprobsOut: Float32Array | null;
  entropiesOut: Float32Array | null;
}

/** @throws ArgumentError as `tokenLogprobs`, whose checks these are; NativeError ERR_CUDA_UNAVAILABLE. */
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
  const logprobsOut = output("logprobsOut");
  const entropiesOut = output("entropiesOut");
  const place = placeCall(where, input.logits, input.device);
  const logits = placeTensor(where, input.logits);
  return {
    block: { logits, dtype, vocab, ld, ...place },
    targets,
    options: { temperature, logitSoftcap },
    logprobsOut,
    entropiesOut,
  };
}
