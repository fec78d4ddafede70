import { describe, expect, it } from "vitest";
import { ArgumentError } from "../../lib/errors/argument-error.js";
import { bfloat16ToFloat32 } from "../../lib/floats/bfloat16-to-float32.js";
import { float32ToBfloat16 } from "../../lib/floats/float32-to-bfloat16.js";
import { nearestBfloat16 } from "../optim/adamw-golden.js";

const ALL = Uint16Array.from({ length: 65_536 }, (_, i) => i);
const isNan = (bits: number): boolean => (bits & 0x7fff) > 0x7f80;

describe("bfloat16", () => {
  it("widens by hand and comes back unchanged, but for NaNs, which become quiet", () => {
    expect([...bfloat16ToFloat32(Uint16Array.of(0x3f80, 0xc000, 0x7f80, 0x0001, 0x8000))]).toEqual([
      1,
      -2,
      Infinity,
      2 ** -133,
      -0,
    ]);
    const back = float32ToBfloat16(bfloat16ToFloat32(ALL));
    expect(ALL.filter((bits) => back[bits] !== (isNan(bits) ? bits | 0x40 : bits))).toHaveLength(0);
  });

  it("rounds to the nearer neighbour, ties to even", () => {
    const lows = [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff];
    const words = new Uint32Array(lows.length * ALL.length);
    for (const bits of ALL)
      for (const [k, low] of lows.entries()) words[lows.length * bits + k] = (bits << 16) | low;
    const values = new Float32Array(words.buffer);
    const expected = Uint16Array.from(values, (value, i) => {
      if (Number.isFinite(value)) return nearestBfloat16(value);
      return (words[i] >>> 16) | (Number.isNaN(value) ? 0x40 : 0);
    });
    expect(Buffer.from(float32ToBfloat16(values).buffer).equals(Buffer.from(expected.buffer))).toBe(true);
  });

  it("writes into memory of the right length only", () => {
    const into = new Uint16Array(2);
    expect(float32ToBfloat16(Float32Array.of(1, -1), into)).toBe(into);
    expect([...into]).toEqual([0x3f80, 0xbf80]);
    expect(() => float32ToBfloat16(new Float32Array(3), into)).toThrow(ArgumentError);
    expect(() => bfloat16ToFloat32(into, new Float32Array(3))).toThrow(/expected length 2, got 3/);
  });
});
