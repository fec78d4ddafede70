import type { BenchTable } from "./bench-table.js";
import { formatShare } from "./format-share.js";
import type { GpuMeasurement } from "./gpu-measurement.js";

/**
 * What bench/cuda/peers.py measured, ours among it.
 *
 * @param sizes a column of each size, and what stands in it. Measurements that agree in all of these and in type are compared.
 */
export function gpuPeerTable<M extends GpuMeasurement>(
  title: string,
  measurements: M[],
  sizes: Record<string, (measurement: M) => string>,
  notes: string[],
): BenchTable {
  const sizesOf = (m: M): string[] => [m.dtype, ...Object.values(sizes).map((size) => size(m))];
  const ours = new Map(
    measurements.filter((m) => m.kernel.startsWith("echo-grpo")).map((m) => [sizesOf(m).join("\n"), m.ms]),
  );
  const besideOurs = (m: M): number | string => {
    const our = ours.get(sizesOf(m).join("\n"));
    return m.ms === undefined || our === undefined ? "" : m.ms / our;
  };
  return {
    title,
    columns: [
      "implementation",
      "type",
      ...Object.keys(sizes),
      "ms",
      "ms ÷ ours",
      "share of a copy",
      "peak extra MiB",
    ],
    rows: measurements
      .filter((m) => m.kernel !== "agreement")
      .map((m) => [
        m.error === undefined ? m.kernel : `${m.kernel}: ${m.error}`,
        ...sizesOf(m),
        m.ms ?? "",
        besideOurs(m),
        formatShare(m.shareOfCopy),
        m.peakExtraMiB ?? "",
      ]),
    notes,
  };
}
