import { loadNative } from "../lib/native/load.js";
import { CounterRandom } from "../lib/random/counter-random.js";
import type { BenchTable } from "./bench-table.js";
import { type MeasuredCase, measure } from "./measure.js";

type Layout = "NT, packed weights" | "NN" | "TN";

/** Rows, outputs, inner size: the products of a decoder with hidden 128, feed-forward 384, vocabulary 512, and wider ones. */
const SHAPES: [use: string, layout: Layout, m: number, n: number, k: number][] = [
  ["q, k, v forward", "NT, packed weights", 1024, 256, 128],
  ["gate, up forward", "NT, packed weights", 1024, 768, 128],
  ["down forward", "NT, packed weights", 1024, 128, 384],
  ["head forward", "NT, packed weights", 1024, 512, 128],
  ["gate, up input gradient", "NN", 1024, 128, 768],
  ["down input gradient", "NN", 1024, 384, 128],
  ["gate, up weight gradient", "TN", 768, 128, 1024],
  ["down weight gradient", "TN", 128, 384, 1024],
  ["wider, forward", "NT, packed weights", 4096, 512, 512],
  ["wider, input gradient", "NN", 4096, 512, 512],
  ["wider, weight gradient", "TN", 512, 512, 4096],
  ["odd sizes", "NN", 301, 131, 259],
  ["sampling, 64 rows", "NT, packed weights", 64, 768, 128],
  ["sampling, 8 rows", "NT, packed weights", 8, 768, 128],
  ["sampling, 1 row", "NT, packed weights", 1, 768, 128],
];

/** How fast the decoder's matrix product is at the decoder's shapes. */
export function benchGemm(): BenchTable {
  const native = loadNative();
  const random = new CounterRandom(1n);
  const matrix = (size: number) => Float32Array.from({ length: size }, () => random.next() - 0.5);
  const cases: MeasuredCase[] = SHAPES.map(([name, layout, m, n, k]) => {
    const a = matrix(m * k);
    const source = matrix(k * n);
    const c = new Float32Array(m * n);
    const packed = layout === "NT, packed weights";
    const transposed = layout === "TN";
    const b = packed ? new Float32Array(native.gemmPackedSize(k, n)) : source;
    if (packed) native.gemmPack(source, true, k, n, b);
    const run = () => native.gemm(m, n, k, a, transposed, b, packed, c, false);
    run();
    const i = m - 1;
    const j = n >> 1;
    let expected = 0;
    for (let p = 0; p < k; p++)
      expected +=
        (transposed ? a[p * m + i] : a[i * k + p]) * (packed ? source[j * k + p] : source[p * n + j]);
    if (!(Math.abs(expected - c[i * n + j]) < 1e-3))
      throw new Error(`[bench gemm] ${name}: a wrong product.`);
    return { name, run };
  });
  const measured = measure(cases, { rounds: 3, maxTimeS: 0.2 });
  return {
    title: "Matrix products of the decoder (float32)",
    columns: ["use", "layout", "M", "N", "K", "GFLOP/s", "GFLOP per CPU second"],
    rows: SHAPES.map(([use, layout, m, n, k], i) => {
      const gflop = (2 * m * n * k) / 1e9;
      return [use, layout, m, n, k, (gflop / measured[i].medianMs) * 1e3, (gflop / measured[i].cpuMs) * 1e3];
    }),
    notes: [
      "M rows, N columns, K the inner size. NT: C = A Bᵀ with the weights B packed once per optimiser step; NN: C = A B in place; TN: C = Aᵀ B in place.",
      "GFLOP/s over the wall clock with all threads; per CPU second over the processor time of all threads, which other processes do not take away.",
    ],
  };
}
