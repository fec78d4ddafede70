import { describe, expect, it } from "vitest";
import { echoLoss } from "../../lib/loss/echo-loss.js";
import { mergeVocabStatistics } from "../../lib/loss/merge-vocab-statistics.js";
import { statisticsLogprobs } from "../../lib/loss/statistics-logprobs.js";
import { vocabParallelEchoLoss } from "../../lib/loss/vocab-parallel-echo-loss.js";
import { vocabParallelStatistics } from "../../lib/loss/vocab-parallel-statistics.js";
import { tiers, useTier } from "../native/each-tier.js";
import { expectClose, expectCloseTotals } from "./expect-close.js";
import { fromBits, toBits } from "./half-precision.js";
import { inShards, SHARD_VARIANTS } from "./in-shards.js";
import { sequenceBlock } from "./sequence-block.js";
import { makeRowsUnusual } from "./unusual-rows.js";

const T = 24;
const V = 83;
/** Where shards begin: one of a single token, one that ends within a vector. */
const STARTS = [0, 32, 33, 60];

const NATIVE = { vocabParallelStatistics, mergeVocabStatistics, vocabParallelEchoLoss };

describe.each(tiers)("a vocabulary in shards on %s", (isa) => {
  it.each(SHARD_VARIANTS)("gives the loss and the gradient of the whole: %s", (_, options) => {
    useTier(isa, 2);
    const block = sequenceBlock(4, T, V);
    const { results, gradient, entropies } = inShards([NATIVE], block, options, { starts: STARTS });
    const whole = { ...block, logits: block.logits.slice(), entropiesOut: new Float32Array(T) };
    const expected = echoLoss({ ...whole, ...options });
    for (const result of results) {
      expectCloseTotals(result.metrics, expected.metrics);
      expect(result).toEqual(results[0]);
    }
    expectClose(results[0].logprobs, expected.logprobs, 1e-6);
    expectClose(gradient, whole.logits, 1e-6);
    expectClose(entropies, whole.entropiesOut, 1e-5);
  });

  it.each<["bfloat16" | "float16"]>([["bfloat16"], ["float16"]])("takes %s logits", (dtype) => {
    useTier(isa, 2);
    const block = sequenceBlock(9, T, V);
    for (const options of [{}, { entropyCoefficient: 0.1, logitSoftcap: 5, temperature: 0.8 }]) {
      const { results, gradient } = inShards([NATIVE], block, options, { starts: STARTS, dtype });
      const whole = { ...block, dtype, logits: toBits(dtype, block.logits) };
      const expected = echoLoss({ ...whole, ...options });
      expectCloseTotals(results[0].metrics, expected.metrics);
      expectClose(gradient, fromBits(dtype, whole.logits), 2 ** -8);
    }
  });

  it("writes bfloat16 gradients over float32 logits", () => {
    useTier(isa, 2);
    const block = sequenceBlock(9, T, V);
    const { gradient } = inShards([NATIVE], block, {}, { starts: STARTS, gradientDtype: "bfloat16" });
    const whole = { ...block, logits: block.logits.slice() };
    echoLoss(whole);
    expectClose(gradient, whole.logits, 2 ** -8);
  });

  it("treats unusual rows as the whole does", () => {
    useTier(isa, 1);
    const block = sequenceBlock(2, T, V);
    const nonfinite = makeRowsUnusual(block);
    const { results, gradient } = inShards([NATIVE], block, {}, { starts: STARTS });
    const whole = { ...block, logits: block.logits.slice() };
    const expected = echoLoss(whole);
    expect(results[3].nonfiniteRows).toEqual(expected.nonfiniteRows);
    expect(expected.nonfiniteRows).toEqual(nonfinite);
    expectClose(results[0].logprobs, expected.logprobs, 1e-6);
    expectClose(gradient, whole.logits, 1e-6);
  });
});

describe("statisticsLogprobs", () => {
  it("are NaN where the target is, and where it is +Infinity, as in one piece", () => {
    const statistics = (target: number) => ({
      max: Float32Array.of(1),
      sum: Float64Array.of(1),
      targetLogits: Float32Array.of(target),
      weighted: null,
      temperature: 1,
    });
    expect(statisticsLogprobs(statistics(Infinity))[0]).toBeNaN();
    expect(statisticsLogprobs(statistics(Number.NaN))[0]).toBeNaN();
    expect(statisticsLogprobs(statistics(-Infinity))[0]).toBe(-Infinity);
    expect(statisticsLogprobs(statistics(1))[0]).toBeCloseTo(-Math.LN2, 7);
  });
});

describe("vocabParallelStatistics", () => {
  it("skips rows with a negative target, whatever is in them", () => {
    const { max, sum, targetLogits, weighted } = vocabParallelStatistics({
      logits: Float32Array.of(1, 2, 3, Number.NaN, Number.NaN, Number.NaN),
      vocabStart: 0,
      targets: Int32Array.of(1, -1),
      entropy: true,
    });
    expect([...max]).toEqual([3, -Math.fround(3.4028234663852886e38)]);
    expect(sum[0]).toBeCloseTo(1 + Math.exp(-2), 6);
    expect([...targetLogits]).toEqual([2, -Infinity]);
    expect([sum[1], weighted?.[1]]).toEqual([0, 0]);
    expect(weighted?.[0]).toBeCloseTo(-2 * Math.LOG2E * Math.exp(-2), 5);
  });
});
