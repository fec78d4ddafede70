import { describe, expect, it } from "vitest";
import { echoLoss } from "../../lib/loss/echo-loss.js";
import { echoLossAsync } from "../../lib/loss/echo-loss-async.js";
import type { LossOptions } from "../../lib/loss/loss-options.js";
import { referenceLoss } from "../../lib/loss/reference.js";
import { resolveLossOptions } from "../../lib/loss/resolve-loss-options.js";
import { rolloutWeights } from "../../lib/loss/rollout-weights.js";
import { sequenceLogRatios } from "../../lib/loss/sequence-log-ratios.js";
import { type SequenceBlock, sequenceBlock } from "./sequence-block.js";

const error = (code: string): Error => expect.objectContaining({ code }) as Error;

describe("sequenceLogRatios", () => {
  const rows = {
    actionWeights: [0, 0.5, 0.5, 0, 0.25],
    advantages: [9, 1, 1, 9, -2],
    logprobs: [7, -1, -2, 7, -3],
    oldLogprobs: [0, -1.5, -1, 0, -2.5],
    cuSeqLens: [0, 3, 3, 5],
  };

  it("is the mean over the action rows of each sequence", () => {
    expect([...sequenceLogRatios("test", rows)]).toEqual([0, -0.25, -0.25, 0, -0.5]);
  });

  it.each([
    [{ actionWeights: [0, 0.5, 0.4, 0, 0.25] }, "ERR_UNSUPPORTED", /unequal actionWeights at row 2/],
    [{ advantages: [9, 1, 2, 9, -2] }, "ERR_UNSUPPORTED", /unequal advantages at row 2: expected 1/],
    [{ cuSeqLens: undefined }, "ERR_INVALID_TYPE", /cuSeqLens are missing/],
    [{ cuSeqLens: [0, 3, 2, 5] }, "ERR_OUT_OF_RANGE", /ascending boundaries from 0 to 5/],
    [{ cuSeqLens: [0, 4] }, "ERR_OUT_OF_RANGE", /got 0 to 4/],
    [{ cuSeqLens: [1, 5] }, "ERR_OUT_OF_RANGE", /got 1 to 5/],
    [{ cuSeqLens: [] }, "ERR_OUT_OF_RANGE", /in 0 entries/],
  ])("refuses %o", (change, code, message) => {
    const call = () => sequenceLogRatios("test", { ...rows, ...change });
    expect(call).toThrow(error(code));
    expect(call).toThrow(message);
  });
});

describe('ratioLevel "sequence" where a logit is not a number', () => {
  it("spoils its sequence alone, however it is computed", async () => {
    const block = sequenceBlock(3, 24, 9);
    const { vocabSize, cuSeqLens, actionWeights } = block;
    const sequence =
      [1, 2, 3].find((i) => actionWeights.slice(cuSeqLens[i], cuSeqLens[i + 1]).some((w) => w !== 0)) ?? 0;
    const spoilt = actionWeights.findIndex((weight, t) => weight !== 0 && t >= cuSeqLens[sequence]);
    const options = { ratioLevel: "sequence" } as const;
    const clean = { ...block, logits: block.logits.slice() };
    echoLoss({ ...clean, ...options });
    const logits = block.logits.slice();
    logits[spoilt * vocabSize] = Number.NaN;
    const shared = new Float32Array(new SharedArrayBuffer(logits.byteLength));
    shared.set(logits);
    const reference = referenceLoss({ logits: logits.slice(), vocabSize, rows: block, options });
    const later = await echoLossAsync({ ...block, logits: shared, ...options });
    const result = echoLoss({ ...block, logits, ...options });
    expect(shared).toEqual(logits);
    expect([...result.nonfiniteRows]).toEqual([spoilt]);
    expect([...later.nonfiniteRows]).toEqual([spoilt]);
    for (const loss of [result.loss, later.loss, reference.totals.policyLoss]) expect(loss).toBeNaN();
    expect(reference.totals.nonfiniteRows).toBe(1);
    for (let t = 0; t < 24; t++) {
      const inSequence = t >= cuSeqLens[sequence] && t < cuSeqLens[sequence + 1];
      const row = logits.slice(t * vocabSize, (t + 1) * vocabSize);
      if (inSequence && actionWeights[t] !== 0) expect(row.every(Number.isNaN), `row ${t}`).toBe(true);
      else expect(row, `row ${t}`).toEqual(clean.logits.slice(t * vocabSize, (t + 1) * vocabSize));
      const expected = reference.gradient.slice(t * vocabSize, (t + 1) * vocabSize);
      expect(expected.every(Number.isNaN), `row ${t}`).toBe(row.every(Number.isNaN));
    }
  });
});

describe("rolloutWeights", () => {
  const rows = {
    actionWeights: [1, 0, 1, 1],
    oldLogprobs: [-1, Number.NaN, -2, -1],
    samplerLogprobs: [-1 - Math.log(2), Number.NaN, -2, -1 + Math.log(4)],
    cuSeqLens: [0, 2, 4],
  };

  it.each([
    ["token", "truncate", 1.5, 0, [1.5, 1, 1, 0.25]],
    ["token", "mask", 1.5, 0.5, [0, 1, 1, 0]],
    ["sequence", "truncate", 1.5, 0, [1.5, 1, 0.25, 0.25]],
    ["sequence", "mask", 3, 0, [2, 1, 0.25, 0.25]],
  ] as const)("%s, %s, cap %d, floor %d", (level, mode, cap, floor, expected) => {
    const weights = rolloutWeights("test", rows, { level, mode, cap, floor });
    expect([...weights].map((weight) => Number(weight.toFixed(6)))).toEqual(expected);
  });

  it("stays finite where the samplers have nothing in common", () => {
    const far = { ...rows, samplerLogprobs: [-5000, 0, 5000, 0] };
    const weights = rolloutWeights("test", far, { level: "token", mode: "truncate", cap: 2 });
    expect(weights[0]).toBe(2);
    expect(weights[2]).toBeLessThan(1e-30);
  });

  it.each([
    [{ samplerLogprobs: undefined }, "ERR_INVALID_TYPE", /no samplerLogprobs/],
    [{ oldLogprobs: null }, "ERR_INVALID_TYPE", /no oldLogprobs/],
    [{ samplerLogprobs: [0, 0, Number.NaN, 0] }, "ERR_NON_FINITE", /at row 2/],
  ])("refuses %o", (change, code, message) => {
    const call = () =>
      rolloutWeights("test", { ...rows, ...change }, { level: "token", mode: "mask", cap: 1 });
    expect(call).toThrow(error(code));
    expect(call).toThrow(message);
  });
});

describe("options that cannot be honoured", () => {
  it.each<[LossOptions, string, RegExp]>([
    [{ surrogate: "cispo", dualClip: 3 }, "ERR_UNSUPPORTED", /excludes dualClip/],
    [{ surrogate: "cispo", ratioLevel: "sequence" }, "ERR_UNSUPPORTED", /excludes dualClip and ratioLevel/],
    [
      { ratioLevel: "sequence", rolloutCorrection: { level: "token", mode: "truncate", cap: 2 } },
      "ERR_UNSUPPORTED",
      /One ratio for a whole sequence/,
    ],
    [{ surrogate: "ppo" as "clip" }, "ERR_INVALID_TYPE", /surrogate is unusable/],
    [{ ratioLevel: "batch" as "token" }, "ERR_INVALID_TYPE", /ratioLevel is unusable/],
    [{ klEstimator: "k4" as "k1" }, "ERR_INVALID_TYPE", /klEstimator is unusable/],
    [{ dualClip: 1 }, "ERR_OUT_OF_RANGE", /dualClip is unusable: expected a finite number above 1/],
    [{ dualClip: Number.NaN }, "ERR_OUT_OF_RANGE", /dualClip/],
    [{ logitSoftcap: 0 }, "ERR_OUT_OF_RANGE", /logitSoftcap/],
    [{ logitSoftcap: "30" as unknown as number }, "ERR_INVALID_TYPE", /logitSoftcap/],
    [{ klCoefficient: Number.POSITIVE_INFINITY }, "ERR_OUT_OF_RANGE", /klCoefficient/],
    [{ entropyCoefficient: Number.NaN }, "ERR_OUT_OF_RANGE", /entropyCoefficient/],
    [{ entropy: 1 as unknown as boolean }, "ERR_OUT_OF_RANGE", /entropy is unusable/],
    [{ rolloutCorrection: { level: "token", mode: "truncate", cap: 0 } }, "ERR_OUT_OF_RANGE", /cap/],
    [
      { rolloutCorrection: { level: "token", mode: "truncate", cap: 2, floor: 1 } },
      "ERR_OUT_OF_RANGE",
      /floor/,
    ],
    [{ rolloutCorrection: { level: "token", mode: "mask", cap: 2, floor: 3 } }, "ERR_OUT_OF_RANGE", /floor/],
    [
      { rolloutCorrection: { level: "all" as "token", mode: "mask", cap: 2 } },
      "ERR_INVALID_TYPE",
      /rolloutCorrection.level/,
    ],
    [
      { rolloutCorrection: { level: "token", mode: "clip" as "mask", cap: 2 } },
      "ERR_INVALID_TYPE",
      /rolloutCorrection.mode/,
    ],
  ])("%o", (options, code, message) => {
    expect(() => resolveLossOptions("test", options)).toThrow(error(code));
    expect(() => resolveLossOptions("test", options)).toThrow(message);
  });

  it("rows that an option needs must be there, and are checked before anything is written", () => {
    const block = sequenceBlock(1, 12, 7);
    const call = (change: Partial<SequenceBlock>, options: LossOptions) => () =>
      echoLoss({ ...block, ...change, ...options });
    const before = block.logits.slice();
    expect(call({ referenceLogprobs: undefined }, { klCoefficient: 0.1 })).toThrow(error("ERR_INVALID_TYPE"));
    expect(call({ cuSeqLens: undefined }, { ratioLevel: "sequence" })).toThrow(error("ERR_INVALID_TYPE"));
    const correction = { level: "token", mode: "mask", cap: 2 } as const;
    expect(call({ samplerLogprobs: undefined }, { rolloutCorrection: correction })).toThrow(
      error("ERR_INVALID_TYPE"),
    );
    const nan = new Float32Array(12).fill(Number.NaN);
    expect(call({ referenceLogprobs: nan }, {})).toThrow(error("ERR_NON_FINITE"));
    expect(call({ samplerLogprobs: nan }, { rolloutCorrection: correction })).toThrow(
      error("ERR_NON_FINITE"),
    );
    expect(block.logits).toEqual(before);
  });
});
