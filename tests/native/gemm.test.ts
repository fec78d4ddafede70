// The decoder's matrix product: right against float64, and every row's bits the same wherever it stands. (tests/native/gemm_test.cc compares
// every element with a chain of fused multiply-adds, where CMake is at hand.)

import { describe, expect, it } from "vitest";
import { loadNative } from "../../lib/native/load.js";
import { CounterRandom } from "../../lib/random/counter-random.js";
import { tiers, useTier } from "./each-tier.js";

const native = loadNative();

function random(length: number, seed: number): Float32Array {
  const source = new CounterRandom(BigInt(seed));
  return Float32Array.from({ length }, () => 2 * source.next() - 1);
}

function pack(b: Float32Array, transposed: boolean, k: number, n: number): Float32Array {
  const packed = new Float32Array(native.gemmPackedSize(k, n));
  native.gemmPack(b, transposed, k, n, packed);
  return packed;
}

const SHAPES = [
  [1, 17, 33],
  [9, 130, 70],
  [103, 65, 300],
];

for (const isa of tiers)
  describe(`gemm, tier ${isa}`, () => {
    it.each(SHAPES)("%i x %i x %i equals the float64 product in every layout", (m, n, k) => {
      useTier(isa);
      const a = random(m * k, 1);
      const b = random(k * n, 2);
      const start = random(m * n, 3);
      for (const layout of ["nn", "nt", "nn packed", "tn"])
        for (const accumulate of [false, true]) {
          const tn = layout === "tn";
          const nt = layout === "nt";
          const packed = nt || layout === "nn packed";
          const c = start.slice();
          native.gemm(m, n, k, a, tn, packed ? pack(b, nt, k, n) : b, packed, c, accumulate);
          let worst = 0;
          for (let i = 0; i < m; i++)
            for (let j = 0; j < n; j++) {
              let sum = accumulate ? start[i * n + j] : 0;
              for (let p = 0; p < k; p++)
                sum += (tn ? a[p * m + i] : a[i * k + p]) * (nt ? b[j * k + p] : b[p * n + j]);
              worst = Math.max(worst, Math.abs(sum - c[i * n + j]));
            }
          expect(worst, layout).toBeLessThan(1e-7 * k);
        }
    });

    it("gives a row the same bits alone, elsewhere, and on any number of threads", () => {
      const [m, n, k] = [61, 112, 270];
      const a = random(m * k, 4);
      const b = random(k * n, 5);
      useTier(isa);
      const c = new Float32Array(m * n);
      native.gemm(m, n, k, a, false, b, false, c, false);
      const packed = pack(b, false, k, n);
      for (const threads of [1, 2, 5]) {
        useTier(isa, threads);
        const again = new Float32Array(m * n);
        native.gemm(m, n, k, a, false, packed, true, again, false);
        expect(again).toEqual(c);
      }
      for (const rows of [1, 2, 3, 7, 12]) {
        const part = new Float32Array(rows * n);
        native.gemm(rows, n, k, a.slice(20 * k, (20 + rows) * k), false, packed, true, part, false);
        expect(part).toEqual(c.slice(20 * n, (20 + rows) * n));
      }
    });

    it("gives a transposed A whose rows share sets of the cache the same bits", () => {
      useTier(isa, 1);
      const [m, n, k] = [512, 70, 390];
      const a = random(m * k, 8);
      const b = random(k * n, 9);
      const turned = Float32Array.from({ length: m * k }, (_, at) => a[(at % m) * k + Math.floor(at / m)]);
      const straight = new Float32Array(m * n);
      native.gemm(m, n, k, a, false, b, false, straight, false);
      const c = new Float32Array(m * n);
      native.gemm(m, n, k, turned, true, b, false, c, false);
      expect(c).toEqual(straight);
    });

    it("continues a chain over k bit for bit", () => {
      useTier(isa);
      const [m, n, k] = [10, 50, 700];
      const a = random(k * m, 6);
      const b = random(k * n, 7);
      const whole = new Float32Array(m * n);
      native.gemm(m, n, k, a, true, b, false, whole, false);
      const parts = new Float32Array(m * n);
      for (const [from, to] of [
        [0, 1],
        [1, 300],
        [300, 700],
      ])
        native.gemm(
          m,
          n,
          to - from,
          a.slice(from * m, to * m),
          true,
          b.slice(from * n, to * n),
          false,
          parts,
          true,
        );
      expect(parts).toEqual(whole);
    });
  });

describe("gemm refuses", () => {
  const f = (length: number): Float32Array => new Float32Array(length);

  it("matrices of another size, before it reads them", () => {
    const code = "ERR_INVALID_SHAPE";
    expect(() => native.gemm(2, 3, 4, f(7), false, f(12), false, f(6), false)).toThrow(
      expect.objectContaining({ code }),
    );
    expect(() => native.gemm(2, 3, 4, f(8), false, f(11), false, f(6), false)).toThrow(
      expect.objectContaining({ code }),
    );
    expect(() => native.gemm(2, 3, 4, f(8), false, f(12), true, f(6), false)).toThrow(
      expect.objectContaining({ code }),
    );
    expect(() => native.gemm(2, 3, 4, f(8), false, f(12), false, f(5), false)).toThrow(
      expect.objectContaining({ code }),
    );
    expect(() => native.gemmPack(f(12), false, 4, 3, f(12))).toThrow(expect.objectContaining({ code }));
  });

  it("sizes that are none", () => {
    const code = "ERR_OUT_OF_RANGE";
    for (const bad of [-1, 1.5, Number.NaN, 2 ** 40])
      expect(() => native.gemm(bad, 3, 4, f(8), false, f(12), false, f(6), false)).toThrow(
        expect.objectContaining({ code }),
      );
  });
});
