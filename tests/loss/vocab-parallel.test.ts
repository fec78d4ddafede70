import { describe, expect, it } from "vitest";
import { echoLoss } from "../../lib/loss/echo-loss.js";
import type { EchoLossInput } from "../../lib/loss/echo-loss-input.js";
import type { LossOptions } from "../../lib/loss/loss-options.js";
import type { LossTotals } from "../../lib/loss/loss-totals.js";
import { mergeVocabStatistics } from "../../lib/loss/merge-vocab-statistics.js";
import {
  type VocabParallelEchoLossInput,
  vocabParallelEchoLoss,
} from "../../lib/loss/vocab-parallel-echo-loss.js";
import {
  type VocabParallelStatisticsInput,
  vocabParallelStatistics,
} from "../../lib/loss/vocab-parallel-statistics.js";
import type { VocabStatistics } from "../../lib/loss/vocab-statistics.js";
import { tiers, useTier } from "../native/each-tier.js";
import { fromBits, toBits } from "./half-precision.js";
import { OPTION_VARIANTS } from "./option-variants.js";
import { sequenceBlock } from "./sequence-block.js";

const T = 24;
const V = 83;
/** Where shards begin: one of a single token, one that ends within a vector. */
const STARTS = [0, 32, 33, 60];

type Dtype = "float32" | "bfloat16" | "float16";
type Block = EchoLossInput & { logits: Float32Array };

/** Columns of every row, with `padding` more behind them. */
function columns(logits: Float32Array, begin: number, end: number, padding: number): Float32Array {
  const size = end - begin + padding;
  const part = new Float32Array(T * size).fill(Number.NaN);
  for (let t = 0; t < T; t++) part.set(logits.subarray(t * V + begin, t * V + end), t * size);
  return part;
}

/** The loss in shards, as ranks would compute it, and the gradient put together. */
function inShards(block: Block, options: LossOptions, dtype: Dtype = "float32", gradientDtype?: "bfloat16") {
  const shards = STARTS.map((begin, i) => {
    const end = STARTS[i + 1] ?? V;
    const padding = i;
    const values = columns(block.logits, begin, end, padding);
    const logits = dtype === "float32" ? values : toBits(dtype, values);
    return { begin, end, padding, logits, dtype: dtype === "float32" ? undefined : dtype };
  });
  const { temperature, logitSoftcap } = options;
  const entropy = options.entropy === true || (options.entropyCoefficient ?? 0) !== 0;
  const place = ({ begin, end, padding, logits, dtype }: (typeof shards)[number]) => ({
    logits,
    dtype,
    vocabStart: begin,
    vocabSize: end - begin,
    ld: end - begin + padding,
  });
  const { targets } = block;
  const parts = shards.map((shard) =>
    vocabParallelStatistics({ ...place(shard), targets, temperature, logitSoftcap, entropy }),
  );
  // As a reduction would, in pairs.
  const statistics = mergeVocabStatistics([
    mergeVocabStatistics(parts.slice(0, 2)),
    mergeVocabStatistics(parts.slice(2)),
  ]);
  const entropies = new Float32Array(T);
  const results = shards.map((shard) =>
    vocabParallelEchoLoss({
      ...block,
      ...options,
      ...place(shard),
      statistics,
      totalVocabSize: V,
      gradientDtype,
      entropiesOut: entropies,
    }),
  );
  const gradient = new Float32Array(T * V);
  for (const { begin, end, padding, logits } of shards) {
    const size = end - begin + padding;
    const narrow = gradientDtype !== undefined;
    const bits = narrow ? new Uint16Array(logits.buffer, logits.byteOffset, 2 * logits.length) : logits;
    for (let t = 0; t < T; t++) {
      const from = t * size * (narrow ? 2 : 1);
      const row = bits.subarray(from, from + size);
      const values =
        row instanceof Uint16Array ? fromBits(dtype === "float32" ? "bfloat16" : dtype, row) : row;
      gradient.set(values.subarray(0, end - begin), t * V + begin);
      for (let j = end - begin; j < size; j++) expect(values[j]).toBe(0);
    }
  }
  return { results, gradient, entropies };
}

function expectClose(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number): void {
  expect(actual.length).toBe(expected.length);
  for (let i = 0; i < expected.length; i++) {
    if (!Number.isFinite(expected[i])) expect(actual[i], `element ${i}`).toBe(expected[i]);
    else
      expect(Math.abs(actual[i] - expected[i]), `element ${i}: ${actual[i]} and ${expected[i]}`).toBeLessThan(
        tolerance * (1 + Math.abs(expected[i])),
      );
  }
}

function expectTotals(actual: LossTotals, expected: LossTotals): void {
  expect(Object.keys(actual).sort()).toEqual(Object.keys(expected).sort());
  for (const [name, value] of Object.entries(expected))
    if (Number.isFinite(value))
      expect(actual[name as keyof LossTotals], name).toBeCloseTo(value as number, 4);
    else expect(actual[name as keyof LossTotals], name).toBe(value);
}

const supported = OPTION_VARIANTS.map(([name, options]): [string, LossOptions] => [
  name,
  { ...options, nllAtOne: (options.temperature ?? 1) === 1 && options.nllAtOne },
]);

describe.each(tiers)("a vocabulary in shards on %s", (isa) => {
  it.each(supported)("gives the loss and the gradient of the whole: %s", (_, options) => {
    useTier(isa, 2);
    const block = sequenceBlock(4, T, V);
    const { results, gradient, entropies } = inShards(block, options);
    const whole = { ...block, logits: block.logits.slice(), entropiesOut: new Float32Array(T) };
    const expected = echoLoss({ ...whole, ...options });
    for (const result of results) {
      expectTotals(result.metrics, expected.metrics);
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
      const { results, gradient } = inShards(block, options, dtype);
      const whole = { ...block, dtype, logits: toBits(dtype, block.logits) };
      const expected = echoLoss({ ...whole, ...options });
      expectTotals(results[0].metrics, expected.metrics);
      expectClose(gradient, fromBits(dtype, whole.logits), 2 ** -8);
    }
  });

  it("writes bfloat16 gradients over float32 logits", () => {
    useTier(isa, 2);
    const block = sequenceBlock(9, T, V);
    const { gradient } = inShards(block, {}, "float32", "bfloat16");
    const whole = { ...block, logits: block.logits.slice() };
    echoLoss(whole);
    expectClose(gradient, whole.logits, 2 ** -8);
  });

  it("treats unusual rows as the whole does", () => {
    useTier(isa, 1);
    const block = sequenceBlock(2, T, V);
    const at = (t: number, j: number, value: number) => {
      block.logits[t * V + j] = value;
    };
    const weighted = Array.from({ length: T }, (_, t) => t).filter(
      (t) => block.actionWeights[t] !== 0 || block.observationWeights[t] !== 0,
    );
    const [empty, poisoned, infinite, target, masked, lonely] = weighted;
    block.logits.fill(-Infinity, empty * V, (empty + 1) * V);
    at(poisoned, 70, Number.NaN);
    at(infinite, 3, Infinity);
    at(target, block.targets[target], -Infinity);
    block.logits.fill(-Infinity, masked * V, masked * V + 32);
    block.targets[masked] = 40;
    block.logits.fill(-Infinity, lonely * V, (lonely + 1) * V);
    at(lonely, block.targets[lonely], 2);
    const { results, gradient } = inShards(block, {});
    const whole = { ...block, logits: block.logits.slice() };
    const expected = echoLoss(whole);
    expect(results[3].nonfiniteRows).toEqual(expected.nonfiniteRows);
    expect(expected.nonfiniteRows).toEqual([empty, poisoned, infinite, target].sort((a, b) => a - b));
    expectClose(results[0].logprobs, expected.logprobs, 1e-6);
    expectClose(gradient, whole.logits, 1e-6);
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

describe("bad input", () => {
  const logits = () => new Float32Array(2 * 5);
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
    expect([...(given.logits as Float32Array)]).toEqual(new Array(10).fill(0));
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
