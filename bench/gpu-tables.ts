import type { BenchTable } from "./bench-table.js";
import type { GpuMeasurement, GpuResults } from "./gpu-results.js";

const percent = (share: number | undefined): string =>
  share === undefined ? "" : `${(share * 100).toFixed(0)} %`;
const typeOf = ({ dtype, gradientDtype }: GpuMeasurement): string =>
  gradientDtype === undefined || gradientDtype === dtype ? dtype : `${dtype} to ${gradientDtype}`;

function kernelTable({ kernels }: GpuResults): BenchTable[] {
  if (kernels === undefined) return [];
  return [
    {
      title: `Kernels of the loss on ${kernels.device}`,
      columns: [
        "kernel",
        "type",
        "V",
        "rows",
        "masked",
        "ms",
        "p20",
        "p80",
        "useful GB/s",
        "share of a copy",
      ],
      rows: kernels.measurements.map((m) => [
        m.kernel,
        typeOf(m),
        m.vocab.toLocaleString("en-US"),
        m.rows.toLocaleString("en-US"),
        percent(m.masked),
        m.ms ?? Number.NaN,
        m.p20 ?? Number.NaN,
        m.p80 ?? Number.NaN,
        m.usefulGBps ?? Number.NaN,
        percent(m.shareOfCopy),
      ]),
      notes: [
        `Compute capability ${(kernels.computeCapability / 10).toFixed(1)}, ${kernels.multiprocessors} multiprocessors, ${Math.round(kernels.memoryMiB / 1024)} GiB; driver for CUDA ${kernels.driver / 1000}, runtime ${kernels.runtime / 1000}.`,
        "Useful bytes are one read of the weighted rows and, of the loss, one write of all; a copy of as many bytes was measured in the same rounds.",
      ],
    },
  ];
}

function peerTable({ peers }: GpuResults): BenchTable[] {
  if (peers === undefined) return [];
  const ours = new Map(
    peers.measurements
      .filter((m) => m.kernel.startsWith("echo-grpo"))
      .map((m) => [`${m.dtype} ${m.vocab} ${m.masked}`, m.ms ?? Number.NaN]),
  );
  return [
    {
      title: `The loss beside its peers on ${peers.device}`,
      columns: [
        "implementation",
        "type",
        "V",
        "rows",
        "masked",
        "ms",
        "ms ÷ ours",
        "share of a copy",
        "peak extra MiB",
      ],
      rows: peers.measurements
        .filter((m) => m.kernel !== "agreement")
        .map((m) => [
          m.error === undefined ? m.kernel : `${m.kernel}: ${m.error}`,
          m.dtype,
          m.vocab.toLocaleString("en-US"),
          m.rows.toLocaleString("en-US"),
          percent(m.masked),
          m.ms ?? Number.NaN,
          (m.ms ?? Number.NaN) / (ours.get(`${m.dtype} ${m.vocab} ${m.masked}`) ?? Number.NaN),
          percent(m.shareOfCopy),
          m.peakExtraMiB ?? Number.NaN,
        ]),
      notes: [
        `PyTorch ${peers.torch}, CUDA ${peers.cuda}; whole calls, with the way of the row vectors to the device and of the totals back.`,
        "Peers compute plain cross-entropy where nothing else is said, which is less than the mixture.",
        ...Object.entries(peers.absent).map(([name, reason]) => `Missing: ${name} (${reason}).`),
      ],
    },
  ];
}

/** The tables of docs/benchmarks.md that a run of tests/gpu/run.sh fills: its stages, our kernels, and the peers. */
export function gpuTables(results: GpuResults): BenchTable[] {
  return [
    {
      title: "What ran on the device",
      columns: ["stage", "result", "seconds"],
      rows: results.stages.map(({ stage, result, seconds }) => [stage, result, seconds]),
      notes: [],
    },
    ...kernelTable(results),
    ...peerTable(results),
  ];
}
