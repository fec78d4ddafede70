import { describe, expect, it } from "vitest";
import { checkLossRows } from "../../lib/loss/check-loss-rows.js";
import { echoLoss } from "../../lib/loss/echo-loss.js";
import { fallbackLogprobs } from "../../lib/loss/fallback-logprobs.js";
import { fallbackLoss } from "../../lib/loss/fallback-loss.js";
import type { LossOptions } from "../../lib/loss/loss-options.js";
import { resolveLossOptions } from "../../lib/loss/resolve-loss-options.js";
import { tokenLogprobs } from "../../lib/loss/token-logprobs.js";
import { copyBlock, type RandomBlock, randomBlock } from "./random-block.js";
import { sequenceBlock } from "./sequence-block.js";

function fallBack(
  block: RandomBlock & { onPolicy?: boolean; samplerLogprobs?: Float32Array; cuSeqLens?: Int32Array },
  options: LossOptions = {},
) {
  const { logits, vocabSize: vocab, ld, targets } = block;
  const logprobs = new Float32Array(targets.length);
  const entropies = new Float32Array(targets.length);
  const metrics = fallbackLoss({
    where: "test",
    logits,
    vocab,
    ld,
    dtype: "float32",
    gradientDtype: "float32",
    rows: checkLossRows("test", block, targets.length, vocab),
    input: block,
    options: resolveLossOptions("test", options),
    logprobs,
    entropies,
  });
  return { metrics, logprobs, entropies };
}

function expectClose(actual: ArrayLike<number>, expected: ArrayLike<number>): void {
  expect(actual.length).toBe(expected.length);
  for (let k = 0; k < expected.length; k++) {
    if (Number.isFinite(expected[k])) {
      const error = Math.abs(actual[k] - expected[k]);
      expect(error, `element ${k}`).toBeLessThan(1e-6 + 1e-5 * Math.abs(expected[k]));
    } else expect(actual[k], `element ${k}`).toBe(expected[k]);
  }
}

describe("the loss in TypeScript", () => {
  it.each<[string, LossOptions, boolean]>([
    ["the defaults", {}, false],
    ["on-policy", {}, true],
    [
      "every option",
      {
        temperature: 0.7,
        epsilonLow: 0.1,
        epsilonHigh: 0.3,
        logRatioClamp: 0.5,
        nllAtOne: true,
        gradScale: 8,
      },
      false,
    ],
    ["cispo and KL", { surrogate: "cispo", klCoefficient: 0.1, klEstimator: "k2" }, false],
    [
      "whole sequences",
      {
        ratioLevel: "sequence",
        rolloutCorrection: { level: "sequence", mode: "truncate", cap: 1.1 },
        dualClip: 2,
        entropyCoefficient: 0.1,
        logitSoftcap: 4,
      },
      false,
    ],
    ["no clamp", { logRatioClamp: false, temperature: 1.5 }, false],
  ])("writes what the addon writes: %s", (_, options, onPolicy) => {
    const padded = 37;
    const block = { ...sequenceBlock(11, 24, 33, padded), onPolicy };
    // Rows without weight are not read.
    block.logits.fill(Number.NaN, 2 * padded, 3 * padded);
    const native = { ...block, logits: block.logits.slice() };
    const expected = echoLoss({ ...native, ...options });
    const actual = fallBack(block, options);
    expectClose(block.logits, native.logits);
    expectClose(actual.logprobs, expected.logprobs);
    expect(Object.keys(actual.metrics).sort()).toEqual(Object.keys(expected.metrics).sort());
    const totals = Object.entries(expected.metrics);
    expectClose(
      totals.map(([key]) => actual.metrics[key as keyof typeof actual.metrics] ?? Number.NaN),
      totals.map(([, value]) => value),
    );
  });

  it("treats rows of -Infinity and NaN as the addon does", () => {
    const block = randomBlock(0, 6, 8);
    block.logits.fill(-Infinity, 0, 8);
    block.logits[8] = Number.NaN;
    block.logits[3 * 8] = -Infinity;
    const native = copyBlock(block);
    const expected = echoLoss(native);
    const actual = fallBack(block);
    expectClose(block.logits, native.logits);
    expectClose(actual.logprobs, expected.logprobs);
    expect(actual.metrics.nonfiniteRows).toBe(expected.metrics.nonfiniteRows);
  });

  it("takes nothing and gives nothing without rows", () => {
    expect(fallBack(randomBlock(0, 0, 5)).metrics).toMatchObject({ policyLoss: 0, actionTokens: 0 });
  });
});

describe("log-probabilities in TypeScript", () => {
  it("are the addon's, 0 where a target is negative, and bitwise those of the loss", () => {
    const { logits, vocabSize, ld, targets, ...block } = randomBlock(6, 9, 21, 24);
    const before = logits.slice();
    const skipped = targets.map((target, t) => (t % 3 === 2 ? -1 : target));
    const actual = new Float32Array(9).fill(7);
    const options = { temperature: 0.8, logitSoftcap: 5 };
    const entropies = new Float32Array(9);
    const expectedEntropies = new Float32Array(9);
    const dtype = "float32" as const;
    fallbackLogprobs({ logits, dtype, vocab: vocabSize, ld }, skipped, options, actual, entropies);
    expect(logits).toEqual(before);
    expectClose(
      actual,
      tokenLogprobs({ logits, vocabSize, ld, targets: skipped, ...options, entropiesOut: expectedEntropies }),
    );
    expectClose(entropies, expectedEntropies);
    expect(Object.is(actual[2], 0)).toBe(true);
    const loss = fallBack({ logits, vocabSize, ld, targets, ...block }, options).logprobs;
    for (const [t, value] of loss.entries()) if (value !== 0) expect(value).toBe(actual[t]);
  });
});
