import { describe, expect, it } from "vitest";
import { loadNative } from "../../lib/native/load.js";
import { detached, Resizable } from "./hostile-arrays.js";

// The last line of defence, for callers that reach the addon without lib/.
describe("the addon refuses what would be unsafe", () => {
  const native = loadNative() as unknown as Record<string, (...values: unknown[]) => unknown>;
  const call = (change: Record<number, unknown>): unknown => {
    const values: unknown[] = [
      new Float32Array(24),
      6,
      6,
      Int32Array.of(1, 5, 0, -100),
      Float32Array.of(0.5, 0, 0.5, 0),
      Float32Array.of(0, 0.1, 0, 0),
      new Float32Array(4),
      new Float32Array(4),
    ];
    values.push(1, 0.2, 0.2, 20, 1, false, new Float32Array(4), new Float64Array(12));
    for (const [i, value] of Object.entries(change)) values[Number(i)] = value;
    return native.echoLoss(...values);
  };

  it.each([
    ["nothing at all", {}, undefined],
    ["logits too short", { 0: new Float32Array(23) }, "ERR_INVALID_SHAPE"],
    ["logits of another type", { 0: new Uint8Array(24) }, "ERR_INVALID_DTYPE"],
    ["logits null", { 0: null }, "ERR_INVALID_TYPE"],
    ["a DataView", { 0: new DataView(new ArrayBuffer(96)) }, "ERR_INVALID_TYPE"],
    ["vocab 0", { 1: 0 }, "ERR_OUT_OF_RANGE"],
    ["vocab NaN", { 1: Number.NaN }, "ERR_OUT_OF_RANGE"],
    ["ld below vocab", { 2: 5 }, "ERR_OUT_OF_RANGE"],
    ["ld huge", { 2: 2 ** 62 }, "ERR_OUT_OF_RANGE"],
    ["ld a string", { 2: "6" }, "ERR_INVALID_TYPE"],
    ["targets short", { 3: new Int32Array(3) }, "ERR_INVALID_SHAPE"],
    ["targets detached", { 3: detached(4) }, "ERR_INVALID_DTYPE"],
    ["weights detached", { 4: detached(4) }, "ERR_DETACHED"],
    [
      "weights resizable",
      { 5: new Float32Array(new Resizable(16, { maxByteLength: 32 })) },
      "ERR_UNSUPPORTED",
    ],
    ["advantages short", { 6: new Float32Array(3) }, "ERR_INVALID_SHAPE"],
    ["oldLogprobs short", { 7: new Float32Array(3) }, "ERR_INVALID_SHAPE"],
    ["target out of range", { 3: Int32Array.of(6, 0, 0, 0) }, "ERR_OUT_OF_RANGE"],
    ["temperature 0", { 8: 0 }, "ERR_NATIVE_STATUS"],
    ["temperature a string", { 8: "1" }, "ERR_INVALID_TYPE"],
    ["logprobsOut long", { 14: new Float32Array(5) }, "ERR_INVALID_SHAPE"],
    ["totals short", { 15: new Float64Array(11) }, "ERR_INVALID_SHAPE"],
  ] as [string, Record<number, unknown>, string | undefined][])("%s", (_name, change, code) => {
    if (code === undefined) expect(() => call(change)).not.toThrow();
    else expect(() => call(change)).toThrow(expect.objectContaining({ code }) as Error);
  });

  it("calls without arguments", () => {
    for (const name of ["echoLoss", "tokenLogprobs", "benchInPlaceUpdate", "gradNorm", "adamwStep"])
      expect(() => native[name]()).toThrow(expect.objectContaining({ code: "ERR_INVALID_TYPE" }) as Error);
    for (const name of ["setIsa", "setThreads"]) expect(native[name]()).toBe(false);
    for (const threads of [0, 257, 1.5, Number.NaN, "2"]) expect(native.setThreads(threads)).toBe(false);
    for (const isa of ["avx9000", 3]) expect(native.setIsa(isa)).toBe(false);
  });
});
