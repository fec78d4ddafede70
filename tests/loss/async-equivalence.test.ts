import { describe, expect, it } from "vitest";
import { echoLoss } from "../../lib/loss/echo-loss.js";
import { echoLossAsync } from "../../lib/loss/echo-loss-async.js";
import { tokenLogprobs } from "../../lib/loss/token-logprobs.js";
import { tokenLogprobsAsync } from "../../lib/loss/token-logprobs-async.js";
import { HostTensor } from "../../lib/tensors/host-tensor.js";
import { tiers, useTier } from "../native/each-tier.js";
import { toBits } from "./half-precision.js";
import { OPTION_VARIANTS } from "./option-variants.js";
import { sequenceBlock } from "./sequence-block.js";

const ROWS = 24;
const DTYPES = ["float32", "bfloat16", "float16"] as const;
const bytes = (array: ArrayBufferView): Buffer =>
  Buffer.from(array.buffer, array.byteOffset, array.byteLength);

function block(dtype: (typeof DTYPES)[number], vocab: number, ld: number, rows = ROWS) {
  const { logits, ...rest } = sequenceBlock(vocab, rows, vocab, ld);
  return { ...rest, dtype, logits: dtype === "float32" ? logits : toBits(dtype, logits) };
}

/** The same logits in memory that asynchronous calls take. */
function shared(logits: Float32Array | Uint16Array): Float32Array | Uint16Array {
  const buffer = new SharedArrayBuffer(logits.byteLength);
  const view = logits instanceof Float32Array ? new Float32Array(buffer) : new Uint16Array(buffer);
  view.set(logits);
  return view;
}

describe.each(tiers)("asynchronous calls on %s give the bytes of the synchronous ones", (isa) => {
  describe.each(DTYPES)("%s", (dtype) => {
    it.each(OPTION_VARIANTS)("echoLossAsync: %s", async (_name, options) => {
      useTier(isa, 2);
      for (const [vocab, ld] of [
        [1, 1],
        [37, 40],
        [300, 300],
      ]) {
        const input = block(dtype, vocab, ld);
        const logits = input.logits.slice();
        const entropiesOut = new Float32Array(ROWS);
        const expected = echoLoss({ ...input, ...options, logits, entropiesOut });

        const view = shared(input.logits);
        const logprobsOut = new Float32Array(ROWS);
        const again = new Float32Array(ROWS);
        const result = await echoLossAsync({
          ...input,
          ...options,
          logits: view,
          logprobsOut,
          entropiesOut: again,
        });
        expect(result).toEqual(expected);
        expect(result.logprobs).toBe(logprobsOut);
        expect(bytes(logprobsOut).equals(bytes(expected.logprobs))).toBe(true);
        expect(bytes(again).equals(bytes(entropiesOut))).toBe(true);
        expect(bytes(view).equals(bytes(logits))).toBe(true);

        using tensor = new HostTensor([ROWS, ld], dtype);
        tensor.data.set(input.logits);
        const { ld: _, ...inferred } = input;
        expect(await echoLossAsync({ ...inferred, ...options, logits: tensor })).toEqual(expected);
        expect(bytes(tensor.data).equals(bytes(logits))).toBe(true);
      }
    });

    it("on-policy, and with a narrow gradient", async () => {
      useTier(isa, 2);
      const { oldLogprobs: _, ...input } = { ...block(dtype, 65, 66), onPolicy: true };
      const gradientDtype = dtype === "float32" ? "bfloat16" : dtype;
      for (const ratioLevel of ["token", "sequence"] as const) {
        const logits = input.logits.slice();
        const expected = echoLoss({ ...input, logits, gradientDtype, ratioLevel });
        const view = shared(input.logits);
        expect(await echoLossAsync({ ...input, logits: view, gradientDtype, ratioLevel })).toEqual(expected);
        const row = (t: number, of: Float32Array | Uint16Array): Buffer =>
          bytes(new Uint16Array(of.buffer, (of.byteLength / ROWS) * t, 65));
        for (let t = 0; t < ROWS; t++) expect(row(t, view).equals(row(t, logits))).toBe(true);
      }
    });

    it("tokenLogprobsAsync, which writes no logits", async () => {
      useTier(isa, 2);
      const input = block(dtype, 130, 133);
      const targets = input.targets.map((target, t) => (t % 5 === 0 ? -1 : target));
      for (const options of [{}, { temperature: 0.6, logitSoftcap: 3 }]) {
        const entropiesOut = new Float32Array(ROWS);
        const expected = tokenLogprobs({ ...input, ...options, targets, entropiesOut });
        const view = shared(input.logits);
        const logprobsOut = new Float32Array(ROWS).fill(7);
        const again = new Float32Array(ROWS).fill(7);
        const call = { ...input, ...options, targets, logits: view };
        expect(await tokenLogprobsAsync({ ...call, logprobsOut, entropiesOut: again })).toBe(logprobsOut);
        expect(bytes(logprobsOut).equals(bytes(expected))).toBe(true);
        expect(bytes(again).equals(bytes(entropiesOut))).toBe(true);
        expect(bytes(await tokenLogprobsAsync(call)).equals(bytes(expected))).toBe(true);
        expect(bytes(view).equals(bytes(input.logits))).toBe(true);
      }
    });
  });
});

it("rows that are not finite are named as by the synchronous call", async () => {
  const input = block("float32", 20, 20);
  input.logits[0] = Number.NaN;
  input.logits.fill(-Infinity, 20, 40);
  const view = shared(input.logits);
  const expected = echoLoss({ ...input, logits: input.logits.slice() });
  expect(expected.nonfiniteRows.length).toBeGreaterThan(0);
  expect(await echoLossAsync({ ...input, logits: view })).toEqual(expected);
});

it("a part of a tensor is as good as the whole: the rest stays", async () => {
  const input = block("float32", 50, 50);
  using tensor = new HostTensor([ROWS + 6, 50]);
  tensor.data.fill(5);
  const part = tensor.data.subarray(3 * 50, (ROWS + 3) * 50);
  part.set(input.logits);
  const logits = input.logits.slice();
  expect(await echoLossAsync({ ...input, logits: part })).toEqual(echoLoss({ ...input, logits }));
  expect(bytes(part).equals(bytes(logits))).toBe(true);
  expect(tensor.data.subarray(0, 150).every((x) => x === 5)).toBe(true);
  expect(tensor.data.subarray((ROWS + 3) * 50).every((x) => x === 5)).toBe(true);
});

it("no rows give no loss", async () => {
  const input = block("float32", 5, 5, 0);
  const view = new Float32Array(new SharedArrayBuffer(0));
  expect(await echoLossAsync({ ...input, logits: view })).toEqual(echoLoss(input));
  expect(await tokenLogprobsAsync({ ...input, logits: view })).toEqual(new Float32Array(0));
});
