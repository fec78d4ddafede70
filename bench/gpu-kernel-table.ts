import type { BenchTable } from "./bench-table.js";
import { formatShare } from "./format-share.js";
import type { GpuMeasurement } from "./gpu-measurement.js";
import type { GpuBench } from "./gpu-results.js";

const typeOf = ({ dtype, gradientDtype }: GpuMeasurement): string =>
  gradientDtype === undefined || gradientDtype === dtype ? dtype : `${dtype} to ${gradientDtype}`;

/**
 * What a program of bench/cuda printed.
 *
 * @param sizes a column of each size, and what stands in it.
 */
export function gpuKernelTable<M extends GpuMeasurement>(
  title: string,
  bench: GpuBench<M>,
  sizes: Record<string, (measurement: M) => string>,
  notes: string[],
): BenchTable {
  const { device, computeCapability, multiprocessors, memoryMiB, driver, runtime, measurements } = bench;
  return {
    title: `${title} on ${device}`,
    columns: ["kernel", "type", ...Object.keys(sizes), "ms", "p20", "p80", "useful GB/s", "share of a copy"],
    rows: measurements.map((m) => [
      m.kernel,
      typeOf(m),
      ...Object.values(sizes).map((size) => size(m)),
      m.ms ?? "",
      m.p20 ?? "",
      m.p80 ?? "",
      m.usefulGBps ?? "",
      formatShare(m.shareOfCopy),
    ]),
    notes: [
      `Compute capability ${(computeCapability / 10).toFixed(1)}, ${multiprocessors} multiprocessors, ${Math.round(memoryMiB / 1024)} GiB; driver for CUDA ${driver / 1000}, runtime ${runtime / 1000}.`,
      ...notes,
    ],
  };
}
