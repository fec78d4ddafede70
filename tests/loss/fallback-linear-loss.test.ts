import { describe, expect, it, vi } from "vitest";
import { checkLinearHead } from "../../lib/loss/check-linear-head.js";
import { headChunks } from "../../lib/loss/head-chunks.js";
import { hostHead } from "../../lib/loss/host-head.js";
import type { LinearEchoLossInput } from "../../lib/loss/linear-echo-loss-input.js";
import type { LossOptions } from "../../lib/loss/loss-options.js";
import { expectWithin } from "./expect-within.js";
import { bytes, type Dtype, linearLayer, linearReference, widen } from "./linear-layer.js";
import { loadLoss } from "./load-loss.js";
import { OPTION_VARIANTS } from "./option-variants.js";

const native = await loadLoss("with the addon");
const typescript = await loadLoss("in TypeScript");

const [T, D, V] = [29, 10, 25];
const SEQUENCES: LossOptions = {
  ratioLevel: "sequence",
  rolloutCorrection: { level: "sequence", mode: "truncate", cap: 2 },
  klCoefficient: 0.1,
  entropyCoefficient: 0.1,
};
const rowsOf = (count: number) => ({ maxLogitsBytes: 4 * V * count });
const weighted = ({ actionWeights, observationWeights }: LinearEchoLossInput, t: number) =>
  actionWeights[t] !== 0 || observationWeights[t] !== 0;

/** Rows without weight hold NaN. */
function layer(hiddenType: Dtype = "float32", weightType: Dtype = "float32") {
  const input = linearLayer(T, D, V, hiddenType, weightType);
  const nothing = hiddenType === "float32" ? Number.NaN : 0x7fc0;
  for (let t = 0; t < T; t++) if (!weighted(input, t)) input.hidden.fill(nothing, t * D, (t + 1) * D);
  return input;
}

/** The loss and everything it wrote. */
function written(loss: typeof native, input: LinearEchoLossInput) {
  const entropiesOut = new Float32Array(T);
  return { ...loss.linearEchoLoss({ ...input, entropiesOut }), entropies: entropiesOut };
}

describe("the loss behind a linear layer in TypeScript", () => {
  it.each(OPTION_VARIANTS)("is that of the definition, and the addon's: %s", (_, options) => {
    const input = linearLayer(T, D, V);
    const expected = linearReference(input, options);
    const actual = written(typescript, { ...input, ...options, ...rowsOf(4) });
    const addon = written(native, { ...input, ...options, ...rowsOf(4) });
    for (const [name, value] of Object.entries(expected.totals)) {
      expect(actual.metrics[name as keyof typeof actual.metrics], name).toBeCloseTo(value as number, 4);
      expect(actual.metrics[name as keyof typeof actual.metrics], name).toBeCloseTo(
        addon.metrics[name as keyof typeof actual.metrics] as number,
        4,
      );
    }
    expectWithin(actual.logprobs, expected.logprobs, 1e-6, 1e-6);
    expectWithin(actual.entropies, addon.entropies, 1e-5, 1e-5);
    expectWithin(actual.hiddenGradient, expected.hiddenGradient, 1e-6, 1e-6);
    expectWithin(actual.weightGradient ?? [], expected.weightGradient, 1e-6, 1e-6);
    expectWithin(widen(actual.hiddenGradient), widen(addon.hiddenGradient), 2e-5, 2e-5);
    expectWithin(actual.weightGradient ?? [], addon.weightGradient ?? [], 2e-5, 2e-5);
  });

  it.each<[Dtype, Dtype]>([
    ["bfloat16", "bfloat16"],
    ["bfloat16", "float32"],
    ["float32", "bfloat16"],
  ])("takes %s input and %s weights", (hiddenType, weightType) => {
    const input = layer(hiddenType, weightType);
    const actual = written(typescript, { ...input, ...SEQUENCES, ...rowsOf(3) });
    const addon = written(native, { ...input, ...SEQUENCES });
    const half = hiddenType === "bfloat16";
    expectWithin(widen(actual.hiddenGradient), widen(addon.hiddenGradient), half ? 2 ** -7 : 2e-5, 2e-5);
    expectWithin(actual.weightGradient ?? [], addon.weightGradient ?? [], 2e-5, 2e-5);
    const wide = { ...input, hidden: widen(input.hidden), weight: widen(input.weight) };
    expect(written(typescript, { ...wide, ...SEQUENCES }).weightGradient).toEqual(actual.weightGradient);
  });

  it.each([
    ["rows by themselves", { temperature: 0.8, logitSoftcap: 3, nllAtOne: true }],
    ["whole sequences", SEQUENCES],
  ])("gives the same numbers to the last bit for any chunk: %s", (_, options: LossOptions) => {
    const input = layer();
    const { metrics, loss, logprobs, entropies, ...whole } = written(typescript, { ...input, ...options });
    expect(new Set(logprobs).size).toBeGreaterThan(10);
    for (const count of [0.5, 1, 2, 7, 19]) {
      const part = written(typescript, { ...input, ...options, ...rowsOf(count) });
      expect(part.metrics).toEqual(metrics);
      expect(part.loss).toBe(loss);
      expect(bytes(part.logprobs)).toEqual(bytes(logprobs));
      expect(bytes(part.entropies)).toEqual(bytes(entropies));
      for (const name of ["hiddenGradient", "weightGradient"] as const)
        expect(bytes(part[name] ?? new Float32Array(0)), `${name}, ${count} rows`).toEqual(
          bytes(whole[name] ?? new Float32Array(1)),
        );
    }
  });

  it.each<Dtype>(["float32", "bfloat16"])("writes the gradient over a %s input", (hiddenType) => {
    const input = { ...layer(hiddenType), ...SEQUENCES, ...rowsOf(3) };
    const expected = typescript.linearEchoLoss({ ...input, weightGradient: false });
    expect(expected).not.toHaveProperty("weightGradient");
    const hidden = input.hidden.slice();
    const result = typescript.linearEchoLoss({ ...input, hidden, hiddenGradientOut: hidden });
    expect(bytes(hidden)).toEqual(bytes(expected.hiddenGradient));
    expect(result.metrics).toEqual(expected.metrics);
    for (let t = 0; t < T; t++)
      if (!weighted(input, t)) expect(new Set(hidden.subarray(t * D, (t + 1) * D))).toEqual(new Set([0]));
  });

  it("adds to the gradient of the weights what it would be by itself", () => {
    const input = { ...layer(), ...rowsOf(4) };
    const once = typescript.linearEchoLoss(input).weightGradient ?? new Float32Array(0);
    const weightGradient = once.slice();
    typescript.linearEchoLoss({ ...input, weightGradient });
    expectWithin(
      weightGradient,
      once.map((x) => 2 * x),
      1e-6,
      1e-7,
    );
  });

  it("refuses what it cannot compute before anything is written", () => {
    const input = layer();
    const hidden = input.hidden.slice();
    for (const change of [
      { klCoefficient: 1, referenceLogprobs: undefined },
      { ...SEQUENCES, cuSeqLens: undefined },
    ])
      expect(() =>
        typescript.linearEchoLoss({ ...input, ...change, hidden, hiddenGradientOut: hidden }),
      ).toThrow(
        expect.objectContaining({
          code: "ERR_INVALID_TYPE",
          message: expect.stringMatching(/^\[linearEchoLoss\]/),
        }),
      );
    expect(hidden).toEqual(input.hidden);
  });
});

describe("the buffer of logits in TypeScript", () => {
  it("holds as many rows as it may, of those with weight only", () => {
    for (const [count, expected] of [
      [0.1, 1],
      [1.9, 1],
      [7, 7],
      [1000, 19],
    ]) {
      const input = layer();
      const head = hostHead(checkLinearHead("test", { ...input, ...rowsOf(count) }, T));
      const buffers = new Set<ArrayBufferLike>();
      const rows: number[] = [];
      for (const chunk of headChunks(head, T, (t) => weighted(input, t))) {
        expect(chunk.length).toBeLessThanOrEqual(expected);
        for (const { t, logits } of chunk) {
          rows.push(t);
          buffers.add(logits.buffer);
          expect(logits.every(Number.isFinite)).toBe(true);
        }
      }
      expect(rows).toEqual(Array.from({ length: T }, (_, t) => t).filter((t) => weighted(input, t)));
      expect([...buffers].map(({ byteLength }) => byteLength)).toEqual([4 * V * expected]);
    }
  });

  it("and no other array is as large: none is of all rows and the vocabulary", () => {
    const [rows, vocab] = [300, 500];
    const input = linearLayer(rows, 2, vocab, "bfloat16", "bfloat16");
    let largest = 0;
    const counted = <Kind extends Float32ArrayConstructor | Float64ArrayConstructor>(kind: Kind): Kind =>
      new Proxy(kind, {
        construct(target, args, newTarget) {
          const array = Reflect.construct(target, args, newTarget) as Float32Array;
          largest = Math.max(largest, array.length);
          return array;
        },
      });
    vi.stubGlobal("Float32Array", counted(Float32Array));
    vi.stubGlobal("Float64Array", counted(Float64Array));
    try {
      const options = { ...SEQUENCES, maxLogitsBytes: 4 * vocab * 8 };
      typescript.linearEchoLoss({ ...input, ...options });
      typescript.linearTokenLogprobs({ ...input, maxLogitsBytes: options.maxLogitsBytes });
    } finally {
      vi.unstubAllGlobals();
    }
    expect(largest).toBe(8 * vocab);
  });
});

describe("log-probabilities behind a linear layer in TypeScript", () => {
  it("are those of the loss, for any chunk, 0 on rows that are skipped", () => {
    const input = layer();
    const options = { temperature: 0.8, logitSoftcap: 3 };
    const { logprobs } = typescript.linearEchoLoss({ ...input, ...options });
    const targets = input.targets.map((target, t) => (weighted(input, t) ? target : -1));
    const addon = native.linearTokenLogprobs({ ...input, ...options, targets });
    for (const count of [1, 4, 100]) {
      const entropiesOut = new Float32Array(T).fill(9);
      const logprobsOut = new Float32Array(T).fill(9);
      const call = { ...input, ...options, targets, ...rowsOf(count), entropiesOut, logprobsOut };
      expect(typescript.linearTokenLogprobs(call)).toBe(logprobsOut);
      expect(bytes(logprobsOut)).toEqual(bytes(logprobs));
      expectWithin(logprobsOut, addon, 1e-5, 1e-5);
      for (let t = 0; t < T; t++) expect(entropiesOut[t] > 0).toBe(weighted(input, t));
    }
  });
});
