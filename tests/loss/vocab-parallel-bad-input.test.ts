import { describe, expect, it } from "vitest";
import type { VocabParallelEchoLossInput } from "../../lib/loss/vocab-parallel-echo-loss.js";
import type { VocabParallelStatisticsInput } from "../../lib/loss/vocab-parallel-statistics.js";
import type { VocabStatistics } from "../../lib/loss/vocab-statistics.js";
import { loadLoss } from "./load-loss.js";

const MODES = ["with the addon", "in TypeScript"] as const;
const LOADED = { [MODES[0]]: await loadLoss(MODES[0]), [MODES[1]]: await loadLoss(MODES[1]) };

describe.each(MODES)("bad input to a vocabulary in shards %s", (mode) => {
  const { mergeVocabStatistics, vocabParallelEchoLoss, vocabParallelStatistics } = LOADED[mode];
  const logits = () => new Float32Array(2 * 5);
  const resizable = Reflect.construct(ArrayBuffer, [16, { maxByteLength: 32 }]) as ArrayBuffer;
  const statistics = (change: Partial<VocabParallelStatisticsInput> = {}): VocabStatistics =>
    vocabParallelStatistics({ logits: logits(), vocabStart: 0, targets: Int32Array.of(1, 7), ...change });
  const input = (change: Record<string, unknown>): VocabParallelEchoLossInput => ({
    logits: logits(),
    vocabStart: 5,
    totalVocabSize: 10,
    targets: Int32Array.of(1, 7),
    actionWeights: Float32Array.of(0, 1),
    observationWeights: Float32Array.of(1, 0),
    advantages: Float32Array.of(0, 1),
    onPolicy: true,
    statistics: statistics(),
    ...change,
  });
  it.each<[string, Record<string, unknown>, string]>([
    ["a broken start", { vocabStart: 0.5 }, "ERR_OUT_OF_RANGE"],
    ["no start", { vocabStart: undefined }, "ERR_INVALID_TYPE"],
    ["a start beyond any vocabulary", { vocabStart: 2 ** 31 }, "ERR_OUT_OF_RANGE"],
    ["a vocabulary that ends before the shard", { totalVocabSize: 9 }, "ERR_OUT_OF_RANGE"],
    ["no vocabulary", { totalVocabSize: undefined }, "ERR_INVALID_TYPE"],
    ["a target beyond the vocabulary", { targets: Int32Array.of(1, 10) }, "ERR_OUT_OF_RANGE"],
    ["no statistics", { statistics: undefined }, "ERR_INVALID_TYPE"],
    [
      "statistics of other rows",
      { statistics: statistics({ targets: Int32Array.of(1) }) },
      "ERR_INVALID_SHAPE",
    ],
    [
      "sums of another type",
      { statistics: { ...statistics(), sum: new Float32Array(2) } },
      "ERR_INVALID_DTYPE",
    ],
    [
      "sums of other rows",
      { statistics: { ...statistics(), sum: new Float64Array(3) } },
      "ERR_INVALID_SHAPE",
    ],
    [
      "sums in memory that may shrink",
      { statistics: { ...statistics(), sum: new Float64Array(resizable) } },
      "ERR_UNSUPPORTED",
    ],
    [
      "sums for the entropy that are none",
      { statistics: { ...statistics(), weighted: undefined } },
      "ERR_INVALID_TYPE",
    ],
    ["logits of another length", { logits: new Float32Array(9), vocabSize: 5 }, "ERR_INVALID_SHAPE"],
    ["logprobsOut that is too short", { logprobsOut: new Float32Array(1) }, "ERR_INVALID_SHAPE"],
    ["a KL penalty without a reference", { klCoefficient: 1 }, "ERR_INVALID_TYPE"],
    [
      "whole sequences of unequal weights",
      {
        ratioLevel: "sequence",
        actionWeights: Float32Array.of(1, 2),
        observationWeights: new Float32Array(2),
        oldLogprobs: new Float32Array(2),
        onPolicy: false,
        cuSeqLens: Int32Array.of(0, 2),
      },
      "ERR_UNSUPPORTED",
    ],
    ["another temperature", { temperature: 2 }, "ERR_OUT_OF_RANGE"],
    [
      "the nll of another temperature",
      { temperature: 2, nllAtOne: true, statistics: statistics({ temperature: 2 }) },
      "ERR_UNSUPPORTED",
    ],
    ["an entropy that nobody measured", { entropy: true }, "ERR_UNSUPPORTED"],
    ["a gradient type that does not fit", { gradientDtype: "float16" }, "ERR_INVALID_DTYPE"],
  ])("is refused before anything is written: %s", (_, change, code) => {
    const given = input(change);
    expect(() => vocabParallelEchoLoss(given)).toThrow(
      expect.objectContaining({ code, message: expect.stringContaining("[vocabParallelEchoLoss]") }),
    );
    expect(new Set(given.logits as Float32Array)).toEqual(new Set([0]));
  });

  it.each<[string, Partial<Record<keyof VocabParallelStatisticsInput, unknown>>, string]>([
    ["a broken start", { vocabStart: -1 }, "ERR_OUT_OF_RANGE"],
    ["a temperature of 0", { temperature: 0 }, "ERR_OUT_OF_RANGE"],
    ["16-bit logits of no kind", { logits: new Uint16Array(10) }, "ERR_INVALID_DTYPE"],
    ["logits of another length", { vocabSize: 4 }, "ERR_INVALID_SHAPE"],
    ["targets of another type", { targets: [1, 7] }, "ERR_INVALID_TYPE"],
  ])("has no statistics: %s", (_, change, code) => {
    expect(() => statistics(change as Partial<VocabParallelStatisticsInput>)).toThrow(
      expect.objectContaining({ code, message: expect.stringContaining("[vocabParallelStatistics]") }),
    );
  });

  it("is not merged", () => {
    const bad = (parts: VocabStatistics[], code: string) =>
      expect(() => mergeVocabStatistics(parts)).toThrow(expect.objectContaining({ code }));
    bad([], "ERR_INVALID_SHAPE");
    bad([statistics(), statistics({ temperature: 2 })], "ERR_OUT_OF_RANGE");
    bad([statistics(), statistics({ entropy: true })], "ERR_INVALID_TYPE");
    bad(
      [statistics(), statistics({ targets: Int32Array.of(1), logits: new Float32Array(5) })],
      "ERR_INVALID_SHAPE",
    );
  });
});
