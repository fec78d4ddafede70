import { describe, expect, it } from "vitest";
import { echoLoss } from "../../lib/loss/echo-loss.js";
import type { EchoLossInput } from "../../lib/loss/echo-loss-input.js";
import type { LossOptions } from "../../lib/loss/loss-options.js";
import { tiers, useTier } from "../native/each-tier.js";
import { fromBits, toBits } from "./half-precision.js";
import { sequenceBlock } from "./sequence-block.js";

const ROWS = 18;
const VOCAB = 45;
const LD = 48;
const DTYPES = ["float32", "bfloat16", "float16"] as const;
const OPTIONS: readonly [string, LossOptions][] = [
  ["the defaults", {}],
  [
    "KL, entropy bonus, dual clip",
    { klCoefficient: 0.1, entropyCoefficient: 0.1, dualClip: 2, temperature: 0.8 },
  ],
  ["a softcap, cispo", { logitSoftcap: 6, surrogate: "cispo" }],
];

type Input = EchoLossInput & { logits: Float32Array | Uint16Array };
const VECTORS = [
  "targets",
  "actionWeights",
  "observationWeights",
  "advantages",
  "oldLogprobs",
  "samplerLogprobs",
  "referenceLogprobs",
] as const;

function inputOf(dtype: (typeof DTYPES)[number]): Input {
  const block = sequenceBlock(5, ROWS, VOCAB, LD);
  return dtype === "float32" ? block : { ...block, logits: toBits(dtype, block.logits), dtype };
}

/** The given rows of an input, with their own memory. */
function take(input: Input, rows: readonly number[]): Input {
  const kind = input.logits.constructor as { new (length: number): Float32Array | Uint16Array };
  const logits = new kind(rows.length * LD);
  for (const [i, row] of rows.entries()) logits.set(input.logits.subarray(row * LD, (row + 1) * LD), i * LD);
  const vectors = VECTORS.map((name) => {
    const vector = input[name] as Float32Array | Int32Array;
    return [name, vector.map((_, i) => (i < rows.length ? vector[rows[i]] : 0)).subarray(0, rows.length)];
  });
  return { ...input, ...Object.fromEntries(vectors), cuSeqLens: undefined, logits } as Input;
}

const rowOf = (logits: Float32Array | Uint16Array, row: number): Buffer =>
  Buffer.from(
    logits.buffer,
    logits.byteOffset + row * LD * logits.BYTES_PER_ELEMENT,
    LD * logits.BYTES_PER_ELEMENT,
  );

describe.each(tiers)("a row of the loss on %s", (isa) => {
  describe.each(DTYPES)("%s", (dtype) => {
    it.each(OPTIONS)("is the same bytes in any order and in any part of a batch: %s", (_name, options) => {
      useTier(isa, 2);
      const whole = take(
        inputOf(dtype),
        Array.from({ length: ROWS }, (__, i) => i),
      );
      const { logprobs } = echoLoss({ ...whole, ...options });
      const orders = [
        Array.from({ length: ROWS }, (__, i) => ROWS - 1 - i),
        Array.from({ length: ROWS }, (__, i) => (5 * i) % ROWS),
        [3],
        [4, 5, 6, 7, 8],
      ];
      for (const rows of orders) {
        const part = take(inputOf(dtype), rows);
        const result = echoLoss({ ...part, ...options });
        for (const [i, row] of rows.entries()) {
          expect(rowOf(part.logits, i).equals(rowOf(whole.logits, row)), `row ${row}`).toBe(true);
          expect(Object.is(result.logprobs[i], logprobs[row])).toBe(true);
        }
      }
    });

    it("sums to nothing over the vocabulary", () => {
      useTier(isa);
      const input = inputOf(dtype);
      echoLoss({ ...input, entropyCoefficient: 0.2 });
      const { logits } = input;
      const gradient =
        dtype === "float32" ? (logits as Float32Array) : fromBits(dtype, logits as Uint16Array);
      const rounding = { float32: 2 ** -23, bfloat16: 2 ** -8, float16: 2 ** -10 }[dtype];
      for (let t = 0; t < ROWS; t++) {
        const row = gradient.subarray(t * LD, t * LD + VOCAB);
        const size = row.reduce((sum, g) => sum + Math.abs(g), 0);
        expect(Math.abs(row.reduce((sum, g) => sum + g, 0))).toBeLessThanOrEqual(
          rounding * size + 1e-6 + VOCAB * 3e-8,
        );
      }
    });
  });
});
