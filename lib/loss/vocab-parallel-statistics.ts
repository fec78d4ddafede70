import { callNative } from "../native/call-native.js";
import { loadOrFallBack } from "../native/load-or-fall-back.js";
import { checkLogits, type LogitsBlock } from "./check-logits.js";
import { checkRows } from "./check-rows.js";
import { checkVocabStart } from "./check-vocab-start.js";
import { fallbackVocabStatistics } from "./fallback-vocab-statistics.js";
import { hostBlock } from "./host-block.js";
import { nativeLogprobsOptions } from "./native-logprobs-options.js";
import { placeCall, placeTensor } from "./place-call.js";
import { resolveLossOptions } from "./resolve-loss-options.js";
import type { VocabStatistics } from "./vocab-statistics.js";

const WHERE = "vocabParallelStatistics";

export interface VocabParallelStatisticsInput extends LogitsBlock {
  /** First token of this shard; the block holds tokens vocabStart .. vocabStart + vocabSize - 1. */
  vocabStart: number;
  /** Token of each row, [T], of the whole vocabulary; a negative one skips its row. */
  targets: Int32Array;
  /** Logits are divided by it. Default 1. */
  temperature?: number;
  /** As in `LossOptions`. Default false. */
  logitSoftcap?: number | false;
  /** Also what the entropy needs. Default false. */
  entropy?: boolean;
}

/**
 * The first of three steps of the loss on a vocabulary in shards: one read of this shard's logits. Then the ranks merge their statistics
 * (`mergeVocabStatistics`), and each writes its gradient (`vocabParallelEchoLoss`).
 *
 * @throws ArgumentError ERR_INVALID_TYPE, ERR_INVALID_DTYPE, ERR_INVALID_SHAPE, ERR_DETACHED, ERR_UNSUPPORTED (resizable buffer), ERR_OUT_OF_RANGE.
 * @throws NativeError when there is an addon and it cannot be loaded. Without one they are computed in float64, after one warning.
 */
export function vocabParallelStatistics(input: VocabParallelStatisticsInput): VocabStatistics {
  const targets = checkRows(WHERE, "targets", input.targets, Int32Array, undefined, "[T]");
  const T = targets.length;
  const { dtype, vocab, ld } = checkLogits(WHERE, input, T);
  const vocabStart = checkVocabStart(WHERE, input.vocabStart, vocab);
  const { temperature, logitSoftcap, entropy } = resolveLossOptions(WHERE, {
    temperature: input.temperature,
    logitSoftcap: input.logitSoftcap,
    entropy: input.entropy,
  });
  const statistics: VocabStatistics = {
    max: new Float32Array(T),
    sum: new Float64Array(T),
    targetLogits: new Float32Array(T),
    weighted: entropy ? new Float64Array(T) : null,
    temperature,
  };
  const place = placeCall(WHERE, input.logits, input.device);
  const block = { logits: placeTensor(WHERE, input.logits), dtype, vocab, ld, ...place };
  const native = loadOrFallBack();
  if (native === undefined) {
    const options = { temperature, logitSoftcap, vocabStart };
    fallbackVocabStatistics(hostBlock(block), targets, options, statistics);
  } else {
    const options = { ...nativeLogprobsOptions({ temperature, logitSoftcap }), vocabStart };
    callNative(WHERE, () => native.vocabStatistics(block, targets, options, statistics));
  }
  return statistics;
}
