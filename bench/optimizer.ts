import { loadNative } from "../lib/native/load.js";
import type { BenchTable } from "./bench-table.js";
import { type MeasuredCase, measure } from "./measure.js";

const PARAMETERS = 20_000_000;

/** Does the optimiser run at the speed of memory? */
export function benchOptimizer(): BenchTable {
  const native = loadNative();
  const make = (value: number): Float32Array[] => [new Float32Array(PARAMETERS).fill(value)];
  const [values, grads, first, second] = [make(1), make(0.1), make(0), make(0)];
  const update = make(0)[0];
  const decays = Float64Array.of(0.01);
  let step = 0;
  const cases: (MeasuredCase & { bytes: number })[] = [
    {
      name: "in-place update, x += 1",
      bytes: 8 * PARAMETERS,
      run: () => native.benchInPlaceUpdate(update, 100_000),
    },
    {
      name: "AdamW",
      bytes: 28 * PARAMETERS,
      run: () => native.adamwStep(values, grads, first, second, decays, 1e-3, 0.9, 0.95, 1e-8, 1, ++step),
    },
    { name: "gradient norm", bytes: 4 * PARAMETERS, run: () => void native.gradNorm(grads) },
  ];
  const results = measure(cases, { rounds: 5 });
  return {
    title: `Optimiser, ${PARAMETERS / 1e6} M float32 parameters`,
    columns: ["operation", "ms", "GB/s", "cpu ms"],
    rows: results.map(({ name, medianMs, cpuMs }, i) => [
      name,
      medianMs,
      cases[i].bytes / medianMs / 1e6,
      cpuMs,
    ]),
    notes: [
      "AdamW reads 16 bytes of a parameter and writes 12, the norm reads 4; cpu ms is the least processor time of a call, over all threads.",
    ],
  };
}
