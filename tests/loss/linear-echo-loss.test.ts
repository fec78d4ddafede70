import { describe, expect, it } from "vitest";
import { float32ToBfloat16 } from "../../lib/floats/float32-to-bfloat16.js";
import { checkLinearHead } from "../../lib/loss/check-linear-head.js";
import { echoLoss } from "../../lib/loss/echo-loss.js";
import { headChunks } from "../../lib/loss/head-chunks.js";
import { hostHead } from "../../lib/loss/host-head.js";
import { linearEchoLoss } from "../../lib/loss/linear-echo-loss.js";
import type { LinearEchoLossInput } from "../../lib/loss/linear-echo-loss-input.js";
import { linearTokenLogprobs } from "../../lib/loss/linear-token-logprobs.js";
import { tiers, useTier } from "../native/each-tier.js";
import { expectWithin } from "./expect-within.js";
import { bytes, type Dtype, linearLayer, linearReference, widen } from "./linear-layer.js";
import { OPTION_VARIANTS } from "./option-variants.js";

describe.each(tiers)("the loss behind a linear layer on %s", (isa) => {
  it.each(OPTION_VARIANTS)("is that of the definition: %s", (_, options) => {
    useTier(isa, 2);
    const input = linearLayer(29, 20, 51);
    const expected = linearReference(input, options);
    const actual = linearEchoLoss({ ...input, ...options, maxLogitsBytes: 51 * 4 * 5 });
    for (const [name, value] of Object.entries(expected.totals))
      expect(actual.metrics[name as keyof typeof actual.metrics], name).toBeCloseTo(value as number, 4);
    expectWithin(actual.logprobs, expected.logprobs, 1e-5, 1e-5);
    expectWithin(actual.hiddenGradient, expected.hiddenGradient, 2e-5, 2e-5);
    expectWithin(actual.weightGradient ?? [], expected.weightGradient, 2e-5, 2e-5);
  });

  it.each<[Dtype, Dtype]>([
    ["bfloat16", "bfloat16"],
    ["bfloat16", "float32"],
    ["float32", "bfloat16"],
  ])("takes %s input and %s weights", (hiddenType, weightType) => {
    useTier(isa, 2);
    const input = linearLayer(21, 24, 67, hiddenType, weightType);
    const expected = linearReference(input, {});
    const actual = linearEchoLoss({ ...input, maxLogitsBytes: 1000 });
    expectWithin(actual.logprobs, expected.logprobs, 1e-5, 1e-5);
    const half = hiddenType === "bfloat16";
    expectWithin(widen(actual.hiddenGradient), expected.hiddenGradient, half ? 2 ** -8 : 2e-5, 2e-5);
    expect(actual.hiddenGradient).toBeInstanceOf(half ? Uint16Array : Float32Array);
    expectWithin(actual.weightGradient ?? [], expected.weightGradient, 2e-5, 2e-5);
    // Nothing of the widening shows: float32 copies give the same bytes.
    const wide = linearEchoLoss({ ...input, hidden: widen(input.hidden), weight: widen(input.weight) });
    expect(bytes(actual.weightGradient ?? new Float32Array(0))).toEqual(
      bytes(wide.weightGradient ?? new Float32Array(1)),
    );
    expect(bytes(actual.logprobs)).toEqual(bytes(wide.logprobs));
    expect(bytes(actual.hiddenGradient)).toEqual(
      bytes(half ? float32ToBfloat16(wide.hiddenGradient as Float32Array) : wide.hiddenGradient),
    );
  });

  it.each<Dtype>(["float32", "bfloat16"])("packs and widens %s weights in blocks", (weightType) => {
    useTier(isa, 2);
    const input = linearLayer(6, 6000, 450, "float32", weightType);
    const expected = linearReference(input, {});
    const actual = linearEchoLoss(input);
    expectWithin(actual.logprobs, expected.logprobs, 1e-5, 2e-5);
    expectWithin(actual.hiddenGradient, expected.hiddenGradient, 2e-5, 2e-5);
    expectWithin(actual.weightGradient ?? [], expected.weightGradient, 2e-5, 2e-5);
  });

  it("gives the same bytes for any chunk and any number of threads", () => {
    const input = linearLayer(130, 33, 401);
    const options = { ratioLevel: "sequence", entropyCoefficient: 0.1 } as const;
    useTier(isa, 1);
    const whole = linearEchoLoss({ ...input, ...options });
    for (const [rows, threads] of [
      [1, 1],
      [7, 2],
      [64, 3],
      [86, 8],
    ]) {
      useTier(isa, threads);
      const part = linearEchoLoss({ ...input, ...options, maxLogitsBytes: rows * 401 * 4 });
      for (const name of ["hiddenGradient", "weightGradient", "logprobs"] as const)
        expect(bytes(part[name] ?? new Float32Array(0)), `${name}, ${rows} rows`).toEqual(
          bytes(whole[name] ?? new Float32Array(1)),
        );
      expect(part.loss).toBeCloseTo(whole.loss, 10);
    }
  });
});

describe("linearEchoLoss", () => {
  it("is echoLoss on the logits, where these are the same", () => {
    const input = linearLayer(40, 1, 90);
    // One product: no sum, so float64 logits rounded once are the kernel's.
    const chunks = [...headChunks(hostHead(checkLinearHead("test", input, 40)), 40, () => true)];
    expect(chunks).toHaveLength(1);
    const logits = Float32Array.from(chunks[0].flatMap((row) => [...row.logits]));
    const materialised = echoLoss({ ...input, logits });
    const fused = linearEchoLoss(input);
    expect(fused.loss).toBe(materialised.loss);
    expect(fused.metrics).toEqual(materialised.metrics);
    expect(bytes(fused.logprobs)).toEqual(bytes(materialised.logprobs));
  });

  it("does not read rows without weight, whatever is in them", () => {
    const input = linearLayer(32, 12, 40);
    const hidden = input.hidden.slice() as Float32Array;
    const clean = linearEchoLoss(input);
    for (let t = 0; t < 32; t++)
      if (input.actionWeights[t] === 0 && input.observationWeights[t] === 0) {
        hidden.fill(Number.NaN, t * 12, (t + 1) * 12);
        input.targets[t] = -100;
      }
    // The last row, too.
    expect(hidden.at(-1)).toBeNaN();
    const dirty = linearEchoLoss({
      ...input,
      hidden,
      hiddenGradientOut: new Float32Array(hidden.length).fill(9),
    });
    expect(dirty).toEqual(clean);
    for (let t = 0; t < 32; t++)
      if (Number.isNaN(hidden[t * 12]))
        expect([...dirty.hiddenGradient.subarray(t * 12, (t + 1) * 12)]).toEqual(new Array(12).fill(0));
  });

  it("adds to the gradient of the weights: two halves are the whole", () => {
    const input = linearLayer(32, 9, 50);
    const half = (from: number, to: number): LinearEchoLossInput => ({
      ...input,
      hidden: input.hidden.slice(from * 9, to * 9),
      cuSeqLens: undefined,
      ...Object.fromEntries(
        (["targets", "actionWeights", "observationWeights", "advantages", "oldLogprobs"] as const).map(
          (name) => [name, input[name]?.slice(from, to)],
        ),
      ),
      samplerLogprobs: undefined,
      referenceLogprobs: undefined,
    });
    const whole = linearEchoLoss(half(0, 32));
    const weightGradient = new Float32Array(50 * 9);
    const first = linearEchoLoss({ ...half(0, 16), weightGradient });
    expect(first.weightGradient).toBe(weightGradient);
    const second = linearEchoLoss({ ...half(16, 32), weightGradient });
    expect(bytes(weightGradient)).toEqual(bytes(whole.weightGradient ?? new Float32Array(0)));
    expect(bytes(Float32Array.of(...first.hiddenGradient, ...second.hiddenGradient))).toEqual(
      bytes(whole.hiddenGradient),
    );
  });

  it("writes where it is told to, also over its input", () => {
    const input = linearLayer(25, 8, 30);
    const expected = linearEchoLoss({
      ...input,
      entropy: true,
      weightGradient: false,
      entropiesOut: new Float32Array(25),
    });
    expect(expected).not.toHaveProperty("weightGradient");
    const hidden = input.hidden.slice();
    const logprobsOut = new Float32Array(25).fill(9);
    const entropiesOut = new Float32Array(25).fill(9);
    const result = linearEchoLoss({
      ...input,
      hidden,
      hiddenGradientOut: hidden,
      entropy: true,
      logprobsOut,
      entropiesOut,
      maxLogitsBytes: 4 * 30 * 3,
    });
    expect(result.hiddenGradient).toBe(hidden);
    expect(bytes(hidden)).toEqual(bytes(expected.hiddenGradient));
    expect(bytes(logprobsOut)).toEqual(bytes(expected.logprobs));
    for (let t = 0; t < 25; t++) expect(entropiesOut[t] > 0).toBe(input.actionWeights[t] !== 0);
  });

  it("never holds the logits of all rows", () => {
    const [T, V] = [6000, 20_000];
    const input = {
      hidden: new Float32Array(T * 8).fill(0.1),
      weight: new Float32Array(V * 8).fill(0.1),
      hiddenSize: 8,
      targets: new Int32Array(T),
      actionWeights: new Float32Array(T),
      observationWeights: new Float32Array(T).fill(1 / T),
      advantages: new Float32Array(T),
      onPolicy: true,
      maxLogitsBytes: 4 * 2 ** 20,
    };
    const before = process.resourceUsage().maxRSS;
    expect(linearEchoLoss(input).loss).toBeCloseTo(Math.log(V), 4);
    // All would be 458 MiB.
    expect(process.resourceUsage().maxRSS - before).toBeLessThan(100 * 1024);
  });

  it("reports rows that are not finite", () => {
    const input = linearLayer(12, 4, 16);
    const row = input.observationWeights.findIndex((weight) => weight !== 0);
    (input.hidden as Float32Array)[row * 4] = Number.NaN;
    const result = linearEchoLoss(input);
    expect(result.nonfiniteRows).toEqual([row]);
    expect(result.metrics.nonfiniteRows).toBe(1);
  });

  it("does nothing to nothing", () => {
    const none = new Float32Array(0);
    const result = linearEchoLoss({
      hidden: none,
      weight: new Float32Array(6),
      hiddenSize: 2,
      targets: new Int32Array(0),
      actionWeights: none,
      observationWeights: none,
      advantages: none,
      onPolicy: true,
    });
    expect(result.loss).toBe(0);
    expect([...(result.weightGradient ?? [])]).toEqual([0, 0, 0, 0, 0, 0]);
  });
});

describe("linearTokenLogprobs", () => {
  it("gives the bytes that the loss reports, and skips negative targets", () => {
    const input = linearLayer(40, 16, 64);
    const loss = linearEchoLoss({ ...input, temperature: 0.8, logitSoftcap: 3 });
    const weighted = (t: number) => input.actionWeights[t] !== 0 || input.observationWeights[t] !== 0;
    const targets = input.targets.map((target, t) => (weighted(t) ? target : -1));
    const hidden = (input.hidden as Float32Array).map((value, i) =>
      weighted(Math.floor(i / 16)) ? value : Number.NaN,
    );
    const entropiesOut = new Float32Array(40);
    const options = { temperature: 0.8, logitSoftcap: 3, maxLogitsBytes: 64 * 4 * 6 };
    const logprobs = linearTokenLogprobs({ ...input, hidden, targets, ...options, entropiesOut });
    expect(bytes(logprobs)).toEqual(bytes(loss.logprobs));
    for (let t = 0; t < 40; t++) expect(entropiesOut[t] > 0).toBe(weighted(t));
  });
});

describe("bad input", () => {
  const good = linearLayer(6, 4, 10);
  const shared = new Float32Array(100);
  it.each<[string, Record<string, unknown>, string]>([
    ["no hiddenSize", { hiddenSize: undefined }, "ERR_INVALID_TYPE"],
    ["a broken hiddenSize", { hiddenSize: 1.5 }, "ERR_OUT_OF_RANGE"],
    ["no room for logits", { maxLogitsBytes: 0 }, "ERR_OUT_OF_RANGE"],
    ["room that is no number", { maxLogitsBytes: "1" }, "ERR_INVALID_TYPE"],
    ["hidden that is too short", { hidden: new Float32Array(23) }, "ERR_INVALID_SHAPE"],
    ["hidden of another kind", { hidden: new Float64Array(24) }, "ERR_INVALID_DTYPE"],
    ["weights without whole rows", { weight: new Float32Array(41) }, "ERR_INVALID_SHAPE"],
    ["no weights", { weight: new Float32Array(0) }, "ERR_INVALID_SHAPE"],
    ["a target beyond the weights", { targets: new Int32Array(6).fill(10) }, "ERR_OUT_OF_RANGE"],
    ["a gradient of another type", { hiddenGradientOut: new Uint16Array(24) }, "ERR_INVALID_DTYPE"],
    ["a gradient that is too short", { hiddenGradientOut: new Float32Array(20) }, "ERR_INVALID_SHAPE"],
    ["a weight gradient that is too short", { weightGradient: new Float32Array(20) }, "ERR_INVALID_SHAPE"],
    [
      "gradients in one place",
      { hiddenGradientOut: shared.subarray(0, 24), weightGradient: shared.subarray(20, 60) },
      "ERR_OVERLAP",
    ],
    ["a gradient over the weights", { weightGradient: good.weight }, "ERR_OVERLAP"],
    [
      "a gradient over part of the input",
      { hidden: shared.subarray(0, 24), hiddenGradientOut: shared.subarray(4, 28) },
      "ERR_OVERLAP",
    ],
    ["logprobsOut that is too short", { logprobsOut: new Float32Array(5) }, "ERR_INVALID_SHAPE"],
    [
      "a KL penalty without a reference",
      { klCoefficient: 1, referenceLogprobs: undefined },
      "ERR_INVALID_TYPE",
    ],
  ])("is refused before anything is written: %s", (_, change, code) => {
    const before = good.hidden.slice();
    expect(() => linearEchoLoss({ ...good, ...change } as LinearEchoLossInput)).toThrow(
      expect.objectContaining({ code, message: expect.stringContaining("[linearEchoLoss]") }),
    );
    expect(good.hidden).toEqual(before);
  });

  it("is refused for log-probabilities, too", () => {
    expect(() => linearTokenLogprobs({ ...good, targets: new Int32Array(6).fill(10) })).toThrow(
      expect.objectContaining({ code: "ERR_OUT_OF_RANGE" }),
    );
    expect(() => linearTokenLogprobs({ ...good, temperature: 0 })).toThrow(
      expect.objectContaining({ code: "ERR_OUT_OF_RANGE" }),
    );
  });
});
