import { ArgumentError } from "../errors/argument-error.js";
import { callNative } from "../native/call-native.js";
import { loadOrFallBack } from "../native/load-or-fall-back.js";
import { checkLogits } from "./check-logits.js";
import { checkRows } from "./check-rows.js";
import { checkVocabStart } from "./check-vocab-start.js";
import { checkVocabStatistics } from "./check-vocab-statistics.js";
import type { EchoLossInput } from "./echo-loss-input.js";
import { type EchoLossResult, echoLossResult } from "./echo-loss-result.js";
import { fallbackLoss } from "./fallback-loss.js";
import { hostBlock } from "./host-block.js";
import { nativeLossRows } from "./native-loss-rows.js";
import { prepareEchoLoss } from "./prepare-echo-loss.js";
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
 * @throws NativeError when there is an addon and it cannot be loaded. Without one the float64 reference computes, after one warning.
 */
export function vocabParallelEchoLoss(input: VocabParallelEchoLossInput): EchoLossResult {
  const targets = checkRows(WHERE, "targets", input.targets, Int32Array, undefined, "[T]");
  const T = targets.length;
  const { vocab } = checkLogits(WHERE, input, T);
  const begin = checkVocabStart(WHERE, input.vocabStart, vocab);
  const { totalVocabSize: total, statistics } = input;
  if (!Number.isInteger(total) || total < begin + vocab || total > 2 ** 31 - 1)
    throw new ArgumentError(
      typeof total === "number" ? "ERR_OUT_OF_RANGE" : "ERR_INVALID_TYPE",
      `[${WHERE}] totalVocabSize is unusable: expected a whole number of at least ${begin + vocab}, where this shard ends, got ${String(total)}.`,
    );
  const { block, rows, options, logprobsOut, entropiesOut: entropies } = prepareEchoLoss(WHERE, input, total);
  checkVocabStatistics(WHERE, statistics, T);
  checkTold(statistics, options);
  const logprobs = logprobsOut ?? new Float32Array(T);
  const shard = { begin, total, statistics };
  const native = loadOrFallBack();
  if (native === undefined)
    return echoLossResult(
      fallbackLoss({ ...hostBlock(block), where: WHERE, shard, rows, input, options, logprobs, entropies }),
      logprobs,
    );
  const metrics = callNative(WHERE, () => {
    const vectors = nativeLossRows(WHERE, rows, input, options, () => statisticsLogprobs(statistics));
    return native.echoLoss({ ...block, shard }, vectors, options, logprobs, entropies);
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
