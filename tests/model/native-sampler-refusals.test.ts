// What the native sampler refuses, and that a refused step changes nothing.

import { describe, expect, it } from "vitest";
import { createNativeDecoder } from "./create-native-decoder.js";
import { sampleStep } from "./sample-step.js";

const CONFIG = {
  vocabSize: 67,
  hiddenSize: 32,
  intermediateSize: 48,
  numLayers: 2,
  numHeads: 4,
  numKvHeads: 2,
  headDim: 16,
  ropeTheta: 10_000,
  rmsNormEps: 1e-6,
  tieWordEmbeddings: true,
  maxPositions: 160,
};

describe("native sampler refuses", () => {
  const decoder = createNativeDecoder(CONFIG);
  const sampler = decoder.createSampler(4, 10);
  const refusal = (code: string, message: RegExp) =>
    expect.objectContaining({ code, message: expect.stringMatching(message) });
  const range = (message: RegExp) => refusal("ERR_OUT_OF_RANGE", message);
  const entry = (slot: number, tokens: number[]) => ({ slot, tokens, seed: 1n });

  it("slots, counts, tokens and temperatures out of range, and keeps every slot as it was", () => {
    sampleStep(sampler, [entry(2, [1, 2, 3])], 1);
    const cases: [() => unknown, RegExp][] = [
      [() => sampleStep(sampler, [entry(4, [1])], 1), /slots\[0\]: expected 0 to 3, got 4/],
      [() => sampleStep(sampler, [entry(-1, [1])], 1), /slots\[0\].*got -1/],
      [() => sampleStep(sampler, [entry(0, [1]), entry(0, [1])], 1), /slots\[1\]: expected each slot once/],
      [
        () => sampleStep(sampler, [entry(0, [])], 1),
        /counts\[0\]: expected 1 to 10, the room in slot 0, got 0/,
      ],
      [() => sampleStep(sampler, [entry(0, new Array(11).fill(1))], 1), /counts\[0\].*got 11/],
      [
        () => sampleStep(sampler, [entry(2, new Array(8).fill(1))], 1),
        /counts\[0\]: expected 1 to 7.*slot 2, got 8/,
      ],
      [
        () => sampleStep(sampler, [entry(0, [1, 67])], 1),
        /tokens\[1\]: expected a token from 0 to 66, got 67/,
      ],
      [() => sampleStep(sampler, [entry(0, [1])], 0), /temperature/],
      [() => sampleStep(sampler, [entry(0, [1])], Number.NaN), /temperature/],
      [() => sampleStep(sampler, [entry(0, [1])], 1e-45), /temperature/],
      [() => sampler.length(4), /slot/],
      [() => sampler.truncate(0, -1), /length/],
      [() => decoder.createSampler(0, 10), /slots/],
      [() => decoder.createSampler(1, 161), /maxContext/],
    ];
    for (const [call, message] of cases) expect(call).toThrow(range(message));
    const short = new Int32Array(1);
    expect(() =>
      sampler.step(short, Int32Array.of(3), short, new BigUint64Array(1), 1, short, new Float32Array(1)),
    ).toThrow(range(/tokens: expected the sum of counts, 3, got 1/));
    expect(() =>
      sampler.step(short, short, short, new BigUint64Array(2), 1, short, new Float32Array(1)),
    ).toThrow(refusal("ERR_INVALID_SHAPE", /seeds/));
    expect([0, 1, 2, 3].map((slot) => sampler.length(slot))).toEqual([0, 0, 3, 0]);
  });

  it("to go on from a slot filled under other parameters", () => {
    sampleStep(sampler, [entry(1, [1, 2])], 1);
    decoder.parametersChanged();
    expect(() => sampleStep(sampler, [entry(1, [3])], 1)).toThrow(
      refusal("ERR_UNSUPPORTED", /slot 1.*Truncate it to 0/),
    );
    sampler.truncate(1, 0);
    expect(sampleStep(sampler, [entry(1, [3])], 1).ids).toHaveLength(1);
  });

  it("to sample from logits that are not finite", () => {
    const broken = createNativeDecoder(CONFIG);
    broken.parameters()[0].value.fill(Number.NaN);
    broken.parametersChanged();
    const own = broken.createSampler(1, 4);
    expect(() => sampleStep(own, [entry(0, [1])], 1)).toThrow(refusal("ERR_NON_FINITE", /logits/));
  });

  it("nothing when there is nothing to do", () => {
    expect(sampleStep(sampler, [], 1).ids).toHaveLength(0);
  });
});
