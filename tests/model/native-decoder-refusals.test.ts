// What the native decoder refuses before it touches memory.

import { describe, expect, it } from "vitest";
import type { LossOptions } from "../../lib/loss/loss-options.js";
import type { LossRows } from "../../lib/loss/loss-rows.js";
import { resolveLossOptions } from "../../lib/loss/resolve-loss-options.js";
import { loadNative } from "../../lib/native/load.js";
import { createNativeDecoder } from "./create-native-decoder.js";

const CONFIG = {
  vocabSize: 43,
  hiddenSize: 24,
  intermediateSize: 40,
  numLayers: 2,
  numHeads: 4,
  numKvHeads: 2,
  headDim: 8,
  ropeTheta: 10_000,
  rmsNormEps: 1e-6,
  tieWordEmbeddings: true,
  maxPositions: 400,
};

const OPTIONS = resolveLossOptions("test", { temperature: 0.9 });

describe("native decoder refuses", () => {
  const decoder = createNativeDecoder(CONFIG);
  const ids = Int32Array.of(1, 2, 3, 4);
  const bounds = Int32Array.of(0, 2, 4);
  const rows = (): LossRows => ({
    targets: Int32Array.of(2, 0, 4, 0),
    actionWeights: Float32Array.of(1, 0, 0, 0),
    observationWeights: Float32Array.of(0, 0, 1, 0),
    advantages: Float32Array.of(1, 0, 0, 0),
    onPolicy: true,
  });
  const refusal = (code: string, message: RegExp) =>
    expect.objectContaining({ code, message: expect.stringMatching(message) });

  it.each([
    [Int32Array.of(1, 2, 43, 4), bounds, "ERR_OUT_OF_RANGE", /ids\[2\].*from 0 to 42, got 43/],
    [Int32Array.of(1, -1, 3, 4), bounds, "ERR_OUT_OF_RANGE", /ids\[1\].*got -1/],
    [ids, Int32Array.of(0), "ERR_OUT_OF_RANGE", /cuSeqLens: expected at least 2/],
    [ids, Int32Array.of(1, 4), "ERR_OUT_OF_RANGE", /cuSeqLens\[0\].*got 1/],
    [ids, Int32Array.of(0, 2, 2, 4), "ERR_OUT_OF_RANGE", /cuSeqLens\[2\]: expected more than 2, got 2/],
    [ids, Int32Array.of(0, 3, 2, 4), "ERR_OUT_OF_RANGE", /cuSeqLens\[2\]/],
    [ids, Int32Array.of(0, 2, 5), "ERR_OUT_OF_RANGE", /cuSeqLens\[2\].*number of ids, 4, got 5/],
    [ids, Int32Array.of(0, 2147483647, -2147483648, 4), "ERR_OUT_OF_RANGE", /length of sequence 0/],
    [
      new Int32Array(401),
      Int32Array.of(0, 401),
      "ERR_OUT_OF_RANGE",
      /length of sequence 0.*at most 400, got 401/,
    ],
  ])("ids %# with boundaries %j", (badIds, badBounds, code, message) => {
    expect(() => decoder.logprobs(badIds, badBounds, 1)).toThrow(refusal(code, message));
    expect(() => decoder.logits(badIds, badBounds)).toThrow(refusal(code, message));
    expect(() => decoder.forwardBackward(badIds, badBounds, rows(), OPTIONS)).toThrow(refusal(code, message));
  });

  it("arrays of another type, length or kind of memory", () => {
    const call = (change: Partial<LossRows>) => () =>
      decoder.forwardBackward(ids, bounds, { ...rows(), ...change }, OPTIONS);
    expect(() => decoder.logits([1, 2] as unknown as Int32Array, bounds)).toThrow(
      refusal("ERR_INVALID_TYPE", /ids/),
    );
    expect(() => decoder.logits(Uint32Array.of(1) as unknown as Int32Array, bounds)).toThrow(
      refusal("ERR_INVALID_DTYPE", /ids/),
    );
    expect(call({ targets: new Int32Array(3) })).toThrow(refusal("ERR_INVALID_SHAPE", /targets.*4, got 3/));
    expect(call({ advantages: new Float32Array(5) })).toThrow(refusal("ERR_INVALID_SHAPE", /advantages/));
    expect(call({ oldLogprobs: new Float32Array(5) })).toThrow(refusal("ERR_INVALID_SHAPE", /oldLogprobs/));
    expect(call({ onPolicy: false })).toThrow(refusal("ERR_INVALID_TYPE", /oldLogprobs.*onPolicy/));
    const detached = new Float32Array(4);
    structuredClone(detached, { transfer: [detached.buffer] });
    expect(call({ actionWeights: detached })).toThrow(refusal("ERR_DETACHED", /actionWeights/));
  });

  it("targets and numbers that a weighted row cannot have, and reads none of the others", () => {
    const call = (change: Partial<LossRows>, options: Partial<LossOptions> = {}) =>
      decoder.forwardBackward(ids, bounds, { ...rows(), ...change }, { ...OPTIONS, ...options });
    const nan = Number.NaN;
    const range = (message: RegExp) => refusal("ERR_OUT_OF_RANGE", message);
    const finite = (message: RegExp) => refusal("ERR_NON_FINITE", message);
    expect(() => call({ targets: Int32Array.of(2, 0, 43, 0) })).toThrow(
      range(/targets\[2\].*weighted row, got 43/),
    );
    expect(() => call({ targets: Int32Array.of(-1, 0, 4, 0) })).toThrow(range(/targets\[0\]/));
    expect(() => call({ actionWeights: Float32Array.of(1, nan, 0, 0) })).toThrow(
      finite(/actionWeights\[1\]/),
    );
    expect(() => call({ observationWeights: Float32Array.of(0, 0, Infinity, 0) })).toThrow(
      finite(/observation/),
    );
    expect(() => call({ advantages: Float32Array.of(nan, 0, 0, 0) })).toThrow(finite(/advantages\[0\]/));
    expect(() => call({ onPolicy: false, oldLogprobs: Float32Array.of(nan, 0, 0, 0) })).toThrow(
      finite(/oldLog/),
    );
    expect(() => call({}, { temperature: 0 })).toThrow(range(/temperature/));
    expect(() => call({}, { gradScale: nan })).toThrow(range(/gradScale/));
    decoder.zeroGradients();
    const before = call({});
    const hidden = {
      targets: Int32Array.of(2, 99, 4, -7),
      advantages: Float32Array.of(1, nan, nan, nan),
      onPolicy: false,
      oldLogprobs: Float32Array.of(-3, nan, nan, Infinity),
    };
    expect(call(hidden).observationLoss).toBe(before.observationLoss);
    expect(decoder.parameters().every(({ grad }) => grad.every(Number.isFinite))).toBe(true);
  });

  it.each([
    [{ numKvHeads: 3 }, /numHeads: expected a multiple of numKvHeads, 3, got 4/],
    [{ headDim: 7 }, /headDim: expected an even number, got 7/],
    [{ vocabSize: 0 }, /vocabSize/],
    [{ hiddenSize: 1.5 }, /hiddenSize/],
    [{ ropeTheta: -1 }, /ropeTheta/],
    [{ rmsNormEps: Number.NaN }, /rmsNormEps/],
    [{ numKvHeads: 8 }, /numKvHeads/],
  ])("config %j", (change, message) => {
    expect(() => loadNative().createDecoder({ ...CONFIG, ...change })).toThrow(
      refusal("ERR_OUT_OF_RANGE", message),
    );
  });
});
