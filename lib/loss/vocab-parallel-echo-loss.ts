import { ArgumentError } from "../errors/argument-error.js";
import { callNative } from "../native/call-native.js";
import { loadNative } from "../native/load.js";
import { checkGradientDtype } from "./check-gradient-dtype.js";
import { checkLogits } from "./check-logits.js";
import { checkLossRows } from "./check-loss-rows.js";
import { checkRows } from "./check-rows.js";
import { checkVocabStart } from "./check-vocab-start.js";
import { checkVocabStatistics } from "./check-vocab-statistics.js";
import type { EchoLossInput } from "./echo-loss-input.js";
import { type EchoLossResult, echoLossResult } from "./echo-loss-result.js";
import { nativeLossRows } from "./native-loss-rows.js";
import { resolveLossOptions } from "./resolve-loss-options.js";
import { statisticsLogprobs } from "./statistics-logprobs.js";
import type { VocabStatistics } from "./vocab-statistics.js";

const WHERE = "vocabParallelEchoLoss";

export interface VocabParallelEchoLossInput extends EchoLossInput {
  /** First token of this shard; the block holds tokens vocabStart .. vocabStart + vocabSize - 1. */
  vocabStart: number;
  /** Tokens of the whole vocabulary, to which `targets` belong. */
  totalVocabSize: number;
  /** Of all shards, merged, at the same temperature and softcap. */
  statistics: VocabStatistics;
}

/**
 * The last step of the loss on a vocabulary in shards: `echoLoss` from the merged statistics, the gradient of this shard in place of its
 * logits. Every shard gets the same rows and reports the same, whole loss; together their gradients are that of the unsharded block, up to the
 * rounding of sums that were added in another order.
 *
 * @throws ArgumentError, before anything is written: as `echoLoss`; for `statistics` as `mergeVocabStatistics`; ERR_OUT_OF_RANGE for vocabStart,
 *   totalVocabSize and a temperature that is not that of the statistics; ERR_UNSUPPORTED for `nllAtOne` at another temperature than 1, and for an
 *   entropy that the statistics cannot tell.
 * @throws NativeError when the addon is missing or cannot be loaded: there is no fallback for shards.
 */
export function vocabParallelEchoLoss(input: VocabParallelEchoLossInput): EchoLossResult {
  const targets = checkRows(WHERE, "targets", input.targets, Int32Array, undefined, "[T]");
  const T = targets.length;
  const { dtype, vocab, ld } = checkLogits(WHERE, input, T);
  const begin = checkVocabStart(WHERE, input.vocabStart, vocab);
  const { totalVocabSize: total, statistics } = input;
  if (!Number.isInteger(total) || total < begin + vocab || total > 2 ** 31 - 1)
    throw new ArgumentError(
      typeof total === "number" ? "ERR_OUT_OF_RANGE" : "ERR_INVALID_TYPE",
      `[${WHERE}] totalVocabSize is unusable: expected a whole number of at least ${begin + vocab}, where this shard ends, got ${String(total)}.`,
    );
  const options = resolveLossOptions(WHERE, input);
  checkVocabStatistics(WHERE, statistics, T);
  checkTold(statistics, options);
  const gradientDtype = checkGradientDtype(WHERE, input.gradientDtype, dtype);
  const checked = checkLossRows(WHERE, input, T, total);
  const floats = (name: string, value: Float32Array): Float32Array =>
    checkRows(WHERE, name, value, Float32Array, T, "[T]");
  const logprobs =
    input.logprobsOut === undefined ? new Float32Array(T) : floats("logprobsOut", input.logprobsOut);
  const entropies = input.entropiesOut === undefined ? null : floats("entropiesOut", input.entropiesOut);
  const native = loadNative();
  const metrics = callNative(WHERE, () => {
    const rows = nativeLossRows(WHERE, checked, input, options, () => statisticsLogprobs(statistics));
    const block = { logits: input.logits, dtype, vocab, ld, gradientDtype };
    return native.echoLoss(
      { ...block, shard: { begin, total, statistics } },
      rows,
      options,
      logprobs,
      entropies,
    );
  });
  return echoLossResult(metrics, logprobs);
}

/** Whether the statistics can tell what the options ask for. */
function checkTold(
  statistics: VocabStatistics,
  options: { temperature: number; nllAtOne: boolean; entropy: boolean; entropyCoefficient: number },
): void {
  if (statistics.temperature !== options.temperature)
    throw new ArgumentError(
      "ERR_OUT_OF_RANGE",
      `[${WHERE}] the statistics are of another temperature: expected ${options.temperature}, got ${statistics.temperature}.`,
    );
  if (options.nllAtOne && options.temperature !== 1)
    throw new ArgumentError(
      "ERR_UNSUPPORTED",
      `[${WHERE}] nllAtOne is not to be had from statistics of temperature ${options.temperature}: expected temperature 1 or no nllAtOne.`,
    );
  if ((options.entropy || options.entropyCoefficient !== 0) && statistics.weighted === null)
    throw new ArgumentError(
      "ERR_UNSUPPORTED",
      `[${WHERE}] the statistics do not tell the entropy: expected those of vocabParallelStatistics with entropy true.`,
    );
}
