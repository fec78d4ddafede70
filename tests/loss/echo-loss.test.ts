import { describe, expect, it } from "vitest";
import { echoLoss } from "../../lib/loss/echo-loss.js";
import type { LossOptions } from "../../lib/loss/loss-options.js";
import { referenceLoss } from "../../lib/loss/reference.js";
import { tiers, useTier } from "../native/each-tier.js";
import { copyBlock, type RandomBlock, randomBlock } from "./random-block.js";

/** Largest |logprob error| and largest |gradient error| relative to the row's |G|, against float64. */
function compare(block: RandomBlock, options: LossOptions & { onPolicy?: boolean } = {}) {
  const { logits, vocabSize, ld } = block;
  const rows = block.targets.length;
  const dense = Array.from(
    { length: rows * vocabSize },
    (_, k) => logits[Math.floor(k / vocabSize) * ld + (k % vocabSize)],
  );
  const expected = referenceLoss({
    logits: dense,
    rows: { ...block, onPolicy: options.onPolicy },
    vocabSize,
    options,
  });
  const actual = copyBlock(block);
  const { metrics, logprobs } = echoLoss({ ...actual, ...options });
  let logprobError = 0;
  let gradientError = 0;
  for (let t = 0; t < rows; t++) {
    logprobError = Math.max(logprobError, Math.abs(logprobs[t] - expected.logprobs[t]));
    const target = block.targets[t];
    const size = Math.abs(expected.gradient[t * vocabSize + target]);
    for (let j = 0; j < vocabSize; j++) {
      const difference = Math.abs(actual.logits[t * ld + j] - expected.gradient[t * vocabSize + j]);
      if (difference > 0) gradientError = Math.max(gradientError, difference / size);
    }
    for (let j = vocabSize; j < ld; j++) expect(actual.logits[t * ld + j]).toBe(0);
  }
  return { metrics, expected: expected.totals, logprobError, gradientError, gradient: actual.logits };
}

describe.each(tiers)("echoLoss on %s", (isa) => {
  it.each([
    [1, 1],
    [3, 2],
    [5, 7],
    [4, 15],
    [4, 16],
    [4, 17],
    [6, 63],
    [6, 64],
    [6, 65],
    [5, 255],
    [3, 1031],
    [2, 50_257],
  ])("equals the float64 reference, %i rows of %i", (rows, vocab) => {
    useTier(isa);
    for (const [ld, temperature] of [
      [vocab, 1],
      [vocab + 3, 0.7],
      [vocab + 16, 1.9],
    ]) {
      const block = randomBlock(rows + ld, rows, vocab, ld);
      const result = compare(block, { temperature, nllAtOne: true, gradScale: 3 });
      expect(result.logprobError).toBeLessThan(2e-6);
      expect(result.gradientError).toBeLessThan(2e-6);
      for (const key of Object.keys(result.expected) as (keyof typeof result.expected)[]) {
        const wanted = result.expected[key] ?? Number.NaN;
        expect(Math.abs((result.metrics[key] ?? Number.NaN) - wanted), key).toBeLessThanOrEqual(
          1e-6 * (1 + Math.abs(wanted)),
        );
      }
    }
  });

  it("writes exactly 0 on weightless rows without reading them", () => {
    useTier(isa);
    const clean = randomBlock(1, 9, 37, 40);
    const dirty = copyBlock(clean);
    for (let t = 0; t < 9; t++)
      if (clean.actionWeights[t] === 0 && clean.observationWeights[t] === 0) {
        dirty.logits.fill([Number.NaN, Infinity, -Infinity][t % 3], t * 40, t * 40 + 40);
        dirty.targets = dirty.targets.map((target, row) => (row === t ? -100 : target));
        dirty.advantages[t] = Number.NaN;
        dirty.oldLogprobs[t] = Number.NaN;
      }
    const a = echoLoss({ ...clean });
    const b = echoLoss({ ...dirty });
    expect(b.metrics).toEqual(a.metrics);
    expect(b.logprobs).toEqual(a.logprobs);
    expect(Buffer.from(dirty.logits.buffer).equals(Buffer.from(clean.logits.buffer))).toBe(true);
    for (let t = 0; t < 9; t++)
      if (clean.actionWeights[t] === 0 && clean.observationWeights[t] === 0)
        for (let j = 0; j < 40; j++) expect(Object.is(dirty.logits[t * 40 + j], 0)).toBe(true);
  });

  it("is bitwise the same on 1, 2, 3 and 8 threads, for any split of the batch", () => {
    const block = randomBlock(2, 41, 1000, 1003);
    const runs = [1, 2, 3, 8].map((threads) => {
      useTier(isa, threads);
      const copy = copyBlock(block);
      return { ...echoLoss(copy), gradient: copy.logits };
    });
    for (const run of runs.slice(1)) expect(run).toEqual(runs[0]);
    useTier(isa);
    for (let t = 0; t < 41; t++) {
      const one = {
        logits: block.logits.slice(t * 1003, t * 1003 + 1003),
        vocabSize: 1000,
        ld: 1003,
        targets: block.targets.slice(t, t + 1),
        actionWeights: block.actionWeights.slice(t, t + 1),
        observationWeights: block.observationWeights.slice(t, t + 1),
        advantages: block.advantages.slice(t, t + 1),
        oldLogprobs: block.oldLogprobs.slice(t, t + 1),
      };
      const { logprobs } = echoLoss(one);
      expect(Object.is(logprobs[0], runs[0].logprobs[t])).toBe(true);
      expect(one.logits).toEqual(runs[0].gradient.slice(t * 1003, t * 1003 + 1003));
    }
  });

  it("loses nothing when all logits are shifted by 1e2, 1e4, 1e6", () => {
    useTier(isa);
    // Steps of 1/16 survive a shift of 1e6 in float32, so that the shifted logits are the same distribution exactly.
    const base = randomBlock(3, 6, 130);
    base.logits = base.logits.map((x) => Math.round(x * 16) / 16);
    const plain = copyBlock(base);
    const { logprobs } = echoLoss(plain);
    for (const shift of [1e2, -1e2, 1e4, -1e4, 1e6, -1e6]) {
      const shifted = copyBlock(base);
      shifted.logits = shifted.logits.map((x) => x + shift);
      const result = echoLoss(shifted);
      expect(result.logprobs).toEqual(logprobs);
      expect(shifted.logits).toEqual(plain.logits);
    }
  });

  it("keeps the gradient of a confident target to float32 precision", () => {
    useTier(isa);
    for (const gap of [2.2, 4.6, 6.9, 13.8, 16, 20, 30]) {
      const logits = Float32Array.from({ length: 70 }, (_, j) => (j === 33 ? gap + 4 : Math.sin(j)));
      const rows = {
        targets: Int32Array.of(33),
        actionWeights: Float32Array.of(0),
        observationWeights: Float32Array.of(1),
        advantages: Float32Array.of(0),
      };
      const expected = referenceLoss({ logits, rows: { ...rows, onPolicy: true }, vocabSize: 70 });
      const others = expected.gradient.reduce((sum, g, j) => (j === 33 ? sum : sum + g), 0);
      const { logprobs } = echoLoss({ logits, ...rows, onPolicy: true });
      expect(Math.abs(logits[33] / -others - 1)).toBeLessThan(1e-6);
      expect(Math.abs(logprobs[0] / Math.log1p(-others) - 1)).toBeLessThan(1e-6);
    }
  });
});

describe("echoLoss", () => {
  it("agrees between tiers", () => {
    const block = randomBlock(5, 64, 3001);
    const results = tiers.map((isa) => {
      useTier(isa);
      const copy = copyBlock(block);
      return { ...echoLoss(copy), gradient: copy.logits };
    });
    for (const result of results.slice(1))
      for (let t = 0; t < 64; t++)
        expect(Math.abs(result.logprobs[t] - results[0].logprobs[t])).toBeLessThanOrEqual(
          2 * 2 ** -23 * Math.abs(results[0].logprobs[t]),
        );
  });

  it("takes an empty batch", () => {
    const none = new Float32Array(0);
    const { metrics, logprobs } = echoLoss({
      logits: none,
      vocabSize: 10,
      targets: new Int32Array(0),
      actionWeights: none,
      observationWeights: none,
      advantages: none,
      onPolicy: true,
    });
    expect(logprobs).toHaveLength(0);
    expect(metrics).toMatchObject({ policyLoss: 0, observationLoss: 0, actionTokens: 0, ratioMax: 0 });
  });

  it("reports the nll at temperature 1 only when it is known", () => {
    const block = randomBlock(6, 6, 20);
    const warm = echoLoss({ ...copyBlock(block), temperature: 0.8 }).metrics;
    expect("observationNllAtOneSum" in warm).toBe(false);
    const both = echoLoss({ ...copyBlock(block), temperature: 0.8, nllAtOne: true }).metrics;
    const plain = echoLoss(copyBlock(block)).metrics;
    expect(plain.observationNllSum).toBeGreaterThan(0);
    expect(plain.observationNllAtOneSum).toBe(plain.observationNllSum);
    expect(both.observationNllAtOneSum).toBe(plain.observationNllSum);
    expect(both.observationNllSum).not.toBe(plain.observationNllSum);
  });

  it("works on views at any offset and on shared memory", () => {
    const block = randomBlock(7, 5, 33);
    const plain = copyBlock(block);
    const expected = echoLoss(plain);
    const memory = new Float32Array(new SharedArrayBuffer(4 * (5 * 33 + 8))).fill(42);
    const view = memory.subarray(3, 3 + 5 * 33);
    view.set(block.logits);
    expect(echoLoss({ ...block, logits: view })).toEqual(expected);
    expect([...view]).toEqual([...plain.logits]);
    expect([...memory.subarray(0, 3), ...memory.subarray(3 + 5 * 33)]).toEqual(new Array(8).fill(42));
  });

  it("writes log-probabilities where asked, and the gradient only is scaled", () => {
    const block = randomBlock(8, 7, 29);
    const plain = copyBlock(block);
    const a = echoLoss(plain);
    const out = new Float32Array(7).fill(9);
    const scaled = copyBlock(block);
    const b = echoLoss({ ...scaled, gradScale: 4, logprobsOut: out });
    expect(b.logprobs).toBe(out);
    expect(b).toEqual(a);
    expect(scaled.logits).toEqual(plain.logits.map((g) => 4 * g));
  });
});
