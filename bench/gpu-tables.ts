import type { BenchTable } from "./bench-table.js";
import { formatShare } from "./format-share.js";
import { gpuKernelTable } from "./gpu-kernel-table.js";
import { gpuPeerTable } from "./gpu-peer-table.js";
import type { GpuLossMeasurement, GpuOptimizerMeasurement, GpuResults } from "./gpu-results.js";

const whole = (count: number): string => count.toLocaleString("en-US");

const lossSizes = {
  V: (m: GpuLossMeasurement): string => whole(m.vocab),
  rows: (m: GpuLossMeasurement): string => whole(m.rows),
  masked: (m: GpuLossMeasurement): string => formatShare(m.masked),
};
const bytesEach = (m: GpuOptimizerMeasurement): string => String(m.bytesPerParameter);

function kernelTables({ kernels, optimizer }: GpuResults): BenchTable[] {
  const tables: BenchTable[] = [];
  if (kernels !== undefined)
    tables.push(
      gpuKernelTable("Kernels of the loss", kernels, lossSizes, [
        "Useful bytes are one read of the weighted rows and, of the loss, one write of all; a copy of as many bytes was measured in the same rounds.",
      ]),
    );
  if (optimizer !== undefined)
    tables.push(
      gpuKernelTable(
        "AdamW and the norm",
        optimizer,
        {
          parameters: (m: GpuOptimizerMeasurement): string => whole(m.parameters),
          tensors: (m: GpuOptimizerMeasurement): string => whole(m.tensors),
          "bytes each": bytesEach,
        },
        [
          "bfloat16: values and gradients, with float32 masters and moments. Bytes each: what is read and written of a parameter; a copy of as many bytes was measured in the same rounds.",
          "A step is three kernels and two small copies, with or without a clip: the norm's two kernels read every gradient first, since nothing is updated before all are known to be finite. The whole call of the norm makes and sends its table, and waits.",
        ],
      ),
    );
  return tables;
}

function peerTables({ peers }: GpuResults): BenchTable[] {
  if (peers === undefined) return [];
  const versions = `PyTorch ${peers.torch}, CUDA ${peers.cuda}`;
  const tables: BenchTable[] = [];
  if (peers.measurements.length > 0)
    tables.push(
      gpuPeerTable(`The loss beside its peers on ${peers.device}`, peers.measurements, lossSizes, [
        `${versions}; whole calls, with the way of the row vectors to the device and of the totals back.`,
        "Peers compute plain cross-entropy where nothing else is said, which is less than the mixture.",
        ...Object.entries(peers.absent).map(([name, reason]) => `Missing: ${name} (${reason}).`),
      ]),
    );
  if (peers.optimizer.length > 0) {
    const [{ parameters, tensors }] = peers.optimizer;
    const differences = peers.optimizer.flatMap((m) => Object.values(m.differences ?? {}));
    tables.push(
      gpuPeerTable(
        `AdamW beside PyTorch on ${peers.device}`,
        peers.optimizer,
        { clip: (m) => (m.clipped === true ? "yes" : "no"), "bytes each": bytesEach },
        [
          `${versions}; whole steps of ${whole(parameters)} parameters in ${tensors} tensors, with clip: after torch.nn.utils.clip_grad_norm_. Bytes each: what a step has to read and write of a parameter.`,
          "bfloat16: with float32 masters; PyTorch widens the gradients before its step and rounds the masters after it.",
          ...(differences.length > 0
            ? [
                `Values, moments and norms of ours and PyTorch's differed by ${Math.max(...differences).toExponential(1)} of the largest, at most, after some steps.`,
              ]
            : []),
        ],
      ),
    );
  }
  return tables;
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
    ...kernelTables(results),
    ...peerTables(results),
  ];
}
