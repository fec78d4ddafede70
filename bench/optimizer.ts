import { loadNative } from "../lib/native/load.js";
import type { BenchTable } from "./bench-table.js";
import { type MeasuredCase, measure } from "./measure.js";

const PARAMETERS = 20_000_000;

/** 0.1 and 1 as the bits of bfloat16 numbers. */
const BFLOAT16_TENTH = 0x3dcd;
const BFLOAT16_ONE = 0x3f80;

/** Does the optimiser run at the speed of memory? */
export function benchOptimizer(): BenchTable {
  const native = loadNative();
  const make = (value: number): Float32Array[] => [new Float32Array(PARAMETERS).fill(value)];
  const [values, grads, first, second] = [make(1), make(0.1), make(0), make(0)];
  const [rounded, roundedGrads] = [BFLOAT16_ONE, BFLOAT16_TENTH].map((bits) => [
    new Uint16Array(PARAMETERS).fill(bits),
  ]);
  const update = make(0)[0];
  const decays = Float64Array.of(0.01);
  let step = 0;
  // A case finds the moments, and the masters in `values`, as the one before left them: the work is the same.
  const adamw = (bfloat16Grads: Uint16Array[] | null): void =>
    native.adamwStep(
      bfloat16Grads === null ? values : rounded,
      bfloat16Grads ?? grads,
      first,
      second,
      decays,
      1e-3,
      0.9,
      0.95,
      1e-8,
      1,
      ++step,
      bfloat16Grads === null ? [null] : values,
    );
  const cases: (MeasuredCase & { bytes: number })[] = [
    {
      name: "in-place update, x += 1",
      bytes: 8 * PARAMETERS,
      run: () => native.benchInPlaceUpdate(update, 100_000),
    },
    { name: "AdamW", bytes: 28 * PARAMETERS, run: () => adamw(null) },
    {
      name: "AdamW, bfloat16 with master and bfloat16 gradient",
      bytes: 28 * PARAMETERS,
      run: () => adamw(roundedGrads),
    },
    { name: "gradient norm", bytes: 4 * PARAMETERS, run: () => void native.gradNorm(grads) },
    {
      name: "gradient norm, bfloat16",
      bytes: 2 * PARAMETERS,
      run: () => void native.gradNorm(roundedGrads),
    },
  ];
  const results = measure(cases, { rounds: 5 });
  return {
    title: `Optimiser, ${PARAMETERS / 1e6} M parameters, float32 unless said otherwise`,
    columns: ["operation", "ms", "GB/s", "cpu ms"],
    rows: results.map(({ name, medianMs, cpuMs }, i) => [
      name,
      medianMs,
      cases[i].bytes / medianMs / 1e6,
      cpuMs,
    ]),
    notes: [
      "AdamW reads 16 bytes of a parameter and writes 12, the norm reads 4; cpu ms is the least processor time of a call, over all threads.",
      "With bfloat16 values and gradients AdamW reads 14 bytes (master, two moments, gradient) and writes 14 (those three and the value); the norm reads 2.",
    ],
  };
}
