import { describe, expect, it, vi } from "vitest";
import type { LossOptions } from "../../lib/loss/loss-options.js";
import { referenceLoss } from "../../lib/loss/reference.js";
import { expectClose, expectCloseTotals } from "./expect-close.js";
import { fromBits, toBits } from "./half-precision.js";
import { inShards, SHARD_VARIANTS } from "./in-shards.js";
import { loadLoss } from "./load-loss.js";
import { type SequenceBlock, sequenceBlock } from "./sequence-block.js";
import { makeRowsUnusual } from "./unusual-rows.js";

const native = await loadLoss("with the addon");
const typescript = await loadLoss("in TypeScript");

const T = 24;
const V = 83;
const SHARDS: [count: number, starts: number[]][] = [
  [1, [0]],
  [2, [0, 61]],
  [3, [0, 32, 33]],
];

/** A block whose rows without weight hold NaN and name no token. */
function block(seed: number): SequenceBlock {
  const made = sequenceBlock(seed, T, V);
  for (const t of made.targets.keys())
    if (made.actionWeights[t] === 0 && made.observationWeights[t] === 0) {
      made.logits.fill(Number.NaN, t * V, (t + 1) * V);
      made.targets[t] = t % 2 === 0 ? -100 : V + 7;
    }
  return made;
}

describe.each(SHARDS)("a vocabulary in TypeScript, shards: %i", (_count, starts) => {
  it.each(SHARD_VARIANTS)("gives the loss and the gradient of the whole: %s", (_name, options) => {
    const rows = block(4);
    const { results, gradient, entropies } = inShards([typescript], rows, options, { starts });
    const whole = { ...rows, logits: rows.logits.slice(), entropiesOut: new Float32Array(T) };
    const expected = typescript.echoLoss({ ...whole, ...options });
    const addon = inShards([native], rows, options, { starts });
    for (const [i, result] of results.entries()) {
      expect(result).toEqual(results[0]);
      expectCloseTotals(result.metrics, expected.metrics);
      expectCloseTotals(result.metrics, addon.results[i].metrics);
    }
    expectClose(gradient, whole.logits, 1e-6);
    expectClose(gradient, addon.gradient, 1e-6);
    expectClose(results[0].logprobs, expected.logprobs, 1e-6);
    expectClose(results[0].logprobs, addon.results[0].logprobs, 1e-6);
    expectClose(entropies, whole.entropiesOut, 1e-6);
    expectClose(entropies, addon.entropies, 1e-5);
    const reference = referenceLoss({ logits: rows.logits, rows, vocabSize: V, options });
    expect(Math.abs(results[0].loss - reference.loss)).toBeLessThan(1e-6);
    expectClose(gradient, reference.gradient, 1e-6);
  });

  it.each(["bfloat16", "float16"] as const)("takes %s logits: the values' gradient, rounded", (dtype) => {
    for (const [, options] of SHARD_VARIANTS) {
      const rows = block(9);
      const values = fromBits(dtype, toBits(dtype, rows.logits));
      const wide = inShards([typescript], { ...rows, logits: values }, options, { starts });
      const narrow = inShards([typescript], rows, options, { starts, dtype });
      expect(narrow.results).toEqual(wide.results);
      expect(narrow.parts).toEqual(wide.parts);
      expect(toBits(dtype, narrow.gradient)).toEqual(toBits(dtype, wide.gradient));
    }
  });

  it("writes bfloat16 gradients over float32 logits", () => {
    const wide = inShards([typescript], block(5), { entropy: true }, { starts });
    const narrow = inShards([typescript], block(5), { entropy: true }, { starts, gradientDtype: "bfloat16" });
    expect(narrow.results).toEqual(wide.results);
    expect(toBits("bfloat16", narrow.gradient)).toEqual(toBits("bfloat16", wide.gradient));
  });

  it("treats unusual rows as the whole does, and as the addon", () => {
    const rows = sequenceBlock(2, T, V);
    const nonfinite = makeRowsUnusual(rows);
    for (const options of [{}, { entropyCoefficient: 0.2, logitSoftcap: 9, temperature: 0.7 }]) {
      const { results, gradient, entropies } = inShards([typescript], rows, options, { starts });
      const whole = { ...rows, logits: rows.logits.slice(), entropiesOut: new Float32Array(T) };
      const expected = typescript.echoLoss({ ...whole, ...options });
      const addon = inShards([native], rows, options, { starts });
      for (const { nonfiniteRows } of results) expect(nonfiniteRows).toEqual(nonfinite);
      expect(expected.nonfiniteRows).toEqual(nonfinite);
      expectCloseTotals(results[0].metrics, expected.metrics);
      expectCloseTotals(results[0].metrics, addon.results[0].metrics);
      expectClose(results[0].logprobs, expected.logprobs, 1e-6);
      expectClose(gradient, whole.logits, 2e-6);
      expectClose(gradient, addon.gradient, 2e-6);
      expectClose(entropies, addon.entropies, 1e-5);
    }
  });
});

it("gives the whole where the targets are the likeliest tokens", () => {
  const options: LossOptions = { entropyCoefficient: 0.2, temperature: 0.6 };
  const rows = sequenceBlock(3, T, V);
  for (const t of rows.targets.keys()) rows.logits[t * V + rows.targets[t]] = 9;
  const { results, gradient, entropies } = inShards([typescript], rows, options, { starts: [0, 40, 50] });
  const whole = { ...rows, logits: rows.logits.slice(), entropiesOut: new Float32Array(T) };
  const expected = typescript.echoLoss({ ...whole, ...options });
  expectCloseTotals(results[2].metrics, expected.metrics);
  expectClose(results[2].logprobs, expected.logprobs, 1e-6);
  expectClose(gradient, whole.logits, 1e-6);
  expectClose(entropies, whole.entropiesOut, 1e-6);
});

it("ranks with the addon and ranks without one are one group", () => {
  const options: LossOptions = { entropyCoefficient: 0.1, logitSoftcap: 5, temperature: 0.8 };
  const starts = [0, 20, 64];
  const mixed = inShards([typescript, native], block(6), options, { starts });
  const whole = { ...block(6) };
  const expected = native.echoLoss({ ...whole, ...options });
  for (const { metrics } of mixed.results) expectCloseTotals(metrics, expected.metrics);
  expectClose(mixed.gradient, whole.logits, 1e-6);
});

describe("vocabParallelStatistics in TypeScript", () => {
  it.each<[string, LossOptions]>([
    ["the defaults", {}],
    ["entropy", { entropy: true }],
    ["entropy, softcap and temperature", { entropy: true, logitSoftcap: 5, temperature: 0.7 }],
  ])("are the addon's: %s", (_, options) => {
    const { logits, targets } = sequenceBlock(8, T, V);
    logits.fill(-Infinity, 0, V);
    logits[V + 4] = Number.NaN;
    logits[2 * V + 4] = Infinity;
    targets.set([3, 3, 3, -1, 50, 100]);
    logits.fill(Number.NaN, 3 * V, 4 * V);
    // Of 83 columns 80 are tokens 40 to 119 of a larger vocabulary.
    const input = { ...options, logits, vocabSize: 80, ld: V, vocabStart: 40, targets };
    const actual = typescript.vocabParallelStatistics(input);
    const expected = native.vocabParallelStatistics(input);
    expect(actual.temperature).toBe(expected.temperature);
    // Without a softcap they are logits.
    expectClose(actual.max, expected.max, options.logitSoftcap === undefined ? 1e-30 : 1e-6);
    expectClose(actual.targetLogits, expected.targetLogits, 1e-6);
    expectClose(actual.sum, expected.sum, 1e-5);
    if (expected.weighted === null) expect(actual.weighted).toBeNull();
    else expectClose(actual.weighted ?? [], expected.weighted, 2e-5);
    expect(actual.targetLogits.filter(Number.isFinite).length).toBeGreaterThan(2);
    expect([actual.sum[0], actual.sum[1], actual.sum[2], actual.sum[3]]).toEqual([
      0,
      Number.NaN,
      Number.NaN,
      0,
    ]);
  });

  it("keep a confident target's log-probability exact", () => {
    const rows = {
      targets: Int32Array.of(0),
      actionWeights: Float32Array.of(0),
      observationWeights: Float32Array.of(1),
      advantages: Float32Array.of(0),
      onPolicy: true,
    };
    const logits = Float32Array.of(60, 0, 0);
    const { results } = inShards([typescript], { ...rows, logits }, {}, { starts: [0, 1] });
    expect(results[1].logprobs[0] / -(2 * Math.exp(-60))).toBeCloseTo(1, 6);
  });
});

describe("the calls on shards", () => {
  it("warn once in all when they fall back", async () => {
    const warnings: string[] = [];
    const emit = vi.spyOn(process, "emitWarning").mockImplementation((_, options) => {
      warnings.push((options as { code: string }).code);
    });
    try {
      const loss = await loadLoss("in TypeScript");
      inShards([loss], block(1), {}, { starts: [0, 9] });
      inShards([loss], block(1), {}, { starts: [0, 9] });
    } finally {
      emit.mockRestore();
    }
    expect(warnings).toEqual(["WARN_NATIVE_FALLBACK"]);
  });

  it("have no GPU without the addon", () => {
    vi.stubEnv("ECHO_GRPO_FALLBACK", "1");
    const { logits, ...rows } = block(1);
    const shard = { logits, vocabStart: 0, totalVocabSize: V, device: "cuda" as const };
    const unavailable = expect.objectContaining({ code: "ERR_CUDA_UNAVAILABLE" });
    expect(() => typescript.vocabParallelStatistics({ ...rows, ...shard })).toThrow(unavailable);
    const statistics = typescript.vocabParallelStatistics({ ...rows, ...shard, device: "auto" });
    expect(() => typescript.vocabParallelEchoLoss({ ...rows, ...shard, statistics })).toThrow(unavailable);
    expect(logits).toEqual(block(1).logits);
    vi.unstubAllEnvs();
  });
});
