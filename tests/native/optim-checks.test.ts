import { describe, expect, it } from "vitest";
import { loadNative } from "../../lib/native/load.js";
import { detached, Growable, Resizable } from "./hostile-arrays.js";

// The last line of defence of the optimiser, for callers that reach the addon without lib/.
const native = loadNative() as unknown as Record<string, (...values: unknown[]) => unknown>;

/** Lists of a float32 and a bfloat16 tensor of 3 and 5 elements, then the numbers. */
function stepArguments(): unknown[] {
  return [
    [Float32Array.of(1, 2, 3), new Uint16Array(5).fill(0x3f80)],
    [new Float32Array(3).fill(1), new Uint16Array(5).fill(0x3f80)],
    [new Float32Array(3), new Float32Array(5)],
    [new Float32Array(3), new Float32Array(5)],
    Float64Array.of(0, 0),
    ...[0.1, 0.9, 0.95, 1e-8, 1, 1],
    [null, new Float32Array(5).fill(1)],
  ];
}

const [VALUES, GRADS, FIRST, SECOND, MASTERS] = [0, 1, 2, 3, 11];
const refused = (code: string): Error => expect.objectContaining({ code }) as Error;

function detachedBits(length: number): Uint16Array {
  const array = new Uint16Array(length);
  structuredClone(array.buffer, { transfer: [array.buffer] });
  return array;
}

const resizable = (length: number): Float32Array =>
  new Float32Array(new Resizable(4 * length, { maxByteLength: 8 * length }));
const growable = (length: number): Float32Array =>
  new Float32Array(new Growable(4 * length, { maxByteLength: 8 * length }));

describe("adamwStep refuses what would be unsafe, and writes nothing", () => {
  it("but takes two good tensors", () => {
    const values = stepArguments();
    native.adamwStep(...values);
    const [float32, bits] = values[VALUES] as [Float32Array, Uint16Array];
    expect([...float32].map((x) => Math.round(x * 1e4) / 1e4)).toEqual([0.9, 1.9, 2.9]);
    expect([...bits]).toEqual(new Array(5).fill(0x3f66));
  });

  it.each([
    ["a float32 gradient of a bfloat16 value too short", GRADS, 1, new Float32Array(4), "ERR_INVALID_SHAPE"],
    ["a bfloat16 gradient too short", GRADS, 1, new Uint16Array(4), "ERR_INVALID_SHAPE"],
    ["a bfloat16 gradient too long", GRADS, 1, new Uint16Array(6), "ERR_INVALID_SHAPE"],
    ["a bfloat16 gradient detached", GRADS, 1, detachedBits(5), "ERR_DETACHED"],
    ["a bfloat16 gradient of a float32 value", GRADS, 0, new Uint16Array(3), "ERR_INVALID_DTYPE"],
    ["a signed gradient", GRADS, 1, new Int16Array(5), "ERR_INVALID_DTYPE"],
    ["a gradient of float64", GRADS, 0, new Float64Array(3), "ERR_INVALID_DTYPE"],
    ["no gradient", GRADS, 1, undefined, "ERR_INVALID_TYPE"],
    ["a DataView", GRADS, 1, new DataView(new ArrayBuffer(10)), "ERR_INVALID_TYPE"],
    ["a value detached", VALUES, 0, detached(3), "ERR_DETACHED"],
    ["a bfloat16 value detached", VALUES, 1, detachedBits(5), "ERR_DETACHED"],
    ["bytes for a value", VALUES, 1, new Uint8Array(5), "ERR_INVALID_DTYPE"],
    ["a value of another length", VALUES, 1, new Uint16Array(6), "ERR_INVALID_SHAPE"],
    ["no master", MASTERS, 1, null, "ERR_INVALID_TYPE"],
    ["a master too short", MASTERS, 1, new Float32Array(4), "ERR_INVALID_SHAPE"],
    ["a master of bfloat16", MASTERS, 1, new Uint16Array(5), "ERR_INVALID_DTYPE"],
    ["a master detached", MASTERS, 1, detached(5), "ERR_DETACHED"],
    ["a master resizable", MASTERS, 1, resizable(5), "ERR_UNSUPPORTED"],
    ["a master beside a float32 value", MASTERS, 0, new Float32Array(3), "ERR_INVALID_TYPE"],
    ["a moment growable", FIRST, 1, growable(5), "ERR_UNSUPPORTED"],
    ["a moment too short", SECOND, 1, new Float32Array(4), "ERR_INVALID_SHAPE"],
  ] as [string, number, number, unknown, string][])("%s", (_name, list, at, value, code) => {
    const values = stepArguments();
    (values[list] as unknown[])[at] = value;
    expect(() => native.adamwStep(...values)).toThrow(refused(code));
    const untouched = stepArguments();
    for (const all of [values, untouched]) (all[list] as unknown[])[at] = undefined;
    expect(values).toEqual(untouched);
  });

  it.each([VALUES, GRADS, FIRST, SECOND])("list %d shorter than the others", (list) => {
    const values = stepArguments();
    (values[list] as unknown[]).pop();
    expect(() => native.adamwStep(...values)).toThrow(Error);
  });

  it("lists that are no lists, or hold more than any model has", () => {
    for (const list of [VALUES, GRADS, FIRST, SECOND, MASTERS])
      for (const [wrong, code] of [
        [null, "ERR_INVALID_TYPE"],
        [new Float32Array(2), "ERR_INVALID_TYPE"],
        [{ length: 2 }, "ERR_INVALID_TYPE"],
        [new Array(2 ** 32 - 1), "ERR_OUT_OF_RANGE"],
      ] as const) {
        const values = stepArguments();
        values[list] = wrong;
        expect(() => native.adamwStep(...values)).toThrow(refused(code));
      }
    expect(() => native.gradNorm(new Array(2 ** 32 - 1))).toThrow(refused("ERR_OUT_OF_RANGE"));
  });

  it("steps and decays that are none", () => {
    for (const [i, wrong, code] of [
      [4, new Float64Array(1), "ERR_INVALID_SHAPE"],
      [4, new Float32Array(2), "ERR_INVALID_DTYPE"],
      [5, "0.1", "ERR_INVALID_TYPE"],
      [10, 0, "ERR_OUT_OF_RANGE"],
      [10, 1.5, "ERR_OUT_OF_RANGE"],
    ] as const) {
      const values = stepArguments();
      values[i] = wrong;
      expect(() => native.adamwStep(...values)).toThrow(refused(code));
    }
  });

  it("tensors that share memory of which one is written", () => {
    const shared = new ArrayBuffer(64);
    for (const [a, b] of [
      [
        [VALUES, 0, new Float32Array(shared, 0, 3)],
        [FIRST, 1, new Float32Array(shared, 8, 5)],
      ],
      [
        [VALUES, 1, new Uint16Array(shared, 10, 5)],
        [MASTERS, 1, new Float32Array(shared, 16, 5)],
      ],
      [
        [SECOND, 0, new Float32Array(shared, 4, 3)],
        [GRADS, 1, new Uint16Array(shared, 14, 5)],
      ],
      [
        [GRADS, 1, new Uint16Array(shared, 0, 5)],
        [VALUES, 1, new Uint16Array(shared, 8, 5)],
      ],
    ] as [number, number, unknown][][]) {
      const values = stepArguments();
      for (const [list, at, value] of [a, b]) (values[list] as unknown[])[at] = value;
      expect(() => native.adamwStep(...values)).toThrow(refused("ERR_OVERLAP"));
    }
    // Neighbours do not overlap, and a gradient may be read twice.
    const values = stepArguments();
    (values[VALUES] as unknown[])[0] = new Float32Array(shared, 0, 3);
    (values[FIRST] as unknown[])[1] = new Float32Array(shared, 12, 5);
    const grad = new Float32Array(5);
    (values[GRADS] as unknown[])[0] = grad.subarray(0, 3);
    (values[GRADS] as unknown[])[1] = grad;
    expect(() => native.adamwStep(...values)).not.toThrow();
  });

  it("lists whose getters take memory away that was already looked at", () => {
    for (const list of [GRADS, MASTERS]) {
      const values = stepArguments();
      const [victim] = values[VALUES] as [Float32Array];
      const last = (values[list] as unknown[])[1];
      Object.defineProperty(values[list], 1, {
        get: () => {
          if (victim.byteLength > 0)
            structuredClone(victim.buffer, { transfer: [victim.buffer as ArrayBuffer] });
          return last;
        },
      });
      expect(() => native.adamwStep(...values)).toThrow(refused("ERR_DETACHED"));
    }
    const values = stepArguments();
    const [victim] = values[VALUES] as [Float32Array];
    const { buffer } = (values[MASTERS] as [null, Float32Array])[1];
    Object.defineProperty(buffer, "resizable", {
      get: () => {
        if (victim.byteLength > 0)
          structuredClone(victim.buffer, { transfer: [victim.buffer as ArrayBuffer] });
        return false;
      },
    });
    expect(() => native.adamwStep(...values)).toThrow(refused("ERR_DETACHED"));
    const throws = Object.defineProperty([null], 0, {
      get: () => {
        throw new RangeError("mine");
      },
    });
    expect(() => native.gradNorm(throws)).toThrow(RangeError);
  });
});

describe("gradNorm refuses what would be unsafe", () => {
  it.each([
    ["detached bits", detachedBits(2), "ERR_DETACHED"],
    ["resizable bits", new Uint16Array(new Resizable(4, { maxByteLength: 8 })), "ERR_UNSUPPORTED"],
    ["signed bits", new Int16Array(2), "ERR_INVALID_DTYPE"],
    ["a list of numbers", [1, 2], "ERR_INVALID_TYPE"],
    ["nothing", null, "ERR_INVALID_TYPE"],
  ] as [string, unknown, string][])("%s", (_name, value, code) => {
    expect(() => native.gradNorm([new Float32Array(3), value])).toThrow(refused(code));
  });
});
