import { loadNative } from "../lib/native/load.js";
import { benchRatio } from "./bench-ratio.js";
import type { BenchTable } from "./bench-table.js";
import type { LossQuestion } from "./loss-peers.js";
import type { Measurement } from "./measure.js";
import type { MissingPeer } from "./peers/missing-peer.js";
import { renderMissing } from "./peers/render-missing.js";
import { renderRatio } from "./render-ratio.js";

/** One row of the table, measured. */
export interface LossCase {
  name: string;
  /** `variant`: ours too, but another job than that of the peers. */
  kind: "yardstick" | "ours" | "variant" | "peer";
  /** That have to move. */
  bytes: number;
  measurement: Measurement;
  /** Bytes above what was there before the call. */
  peak?: number;
  /** Largest against float64. */
  error?: number;
}

/** The loss beside its peers. */
export function lossTable(
  question: LossQuestion,
  cases: readonly LossCase[],
  peers: { missing: readonly MissingPeer[]; greetings: readonly string[] },
): BenchTable {
  const { T, V, check, dtype, gradient } = question;
  const ours = cases.find(({ kind }) => kind === "ours");
  const yardstick = cases.find(({ kind }) => kind === "yardstick");
  if (!ours || !yardstick) throw new Error("[bench/loss] the table lacks our own case or the yardstick.");
  const speed = ({ bytes, measurement }: LossCase): number => bytes / measurement.medianMs / 1e6;
  const what = gradient ? "Loss and gradient" : "Log-probabilities";
  const { isa, threads } = loadNative();
  return {
    title: `${what}, [${T}, ${V}] ${dtype}`,
    columns: [
      "case",
      "ms",
      "p20",
      "p80",
      "CPU ms",
      "GB/s",
      "of an in-place update",
      "ms ÷ ours",
      "CPU ÷ ours",
      "peak extra MiB",
      "max error",
    ],
    rows: cases.map((one) => {
      const { error, kind, measurement, name, peak } = one;
      const { cpuMs, highMs, lowMs, medianMs } = measurement;
      const times = [medianMs, lowMs, highMs, cpuMs, speed(one)];
      const share = `${Math.round((100 * speed(one)) / speed(yardstick))} %`;
      const ratios = kind === "peer" ? renderRatio(benchRatio(measurement, ours.measurement)) : ["", ""];
      const memory = peak === undefined ? "" : (peak / 2 ** 20).toFixed(1);
      return [name, ...times, share, ...ratios, memory, error === undefined ? "" : error.toExponential(1)];
    }),
    notes: [
      gradient
        ? "GB/s counts one read and one write of every weighted row, one write of a row without weight (its gradient is 0)."
        : "GB/s counts one read. The in-place update writes as well.",
      ...(gradient
        ? [
            "Half of the rows are actions (GRPO's clipped surrogate), half observations (cross-entropy). F.cross_entropy has an easier job: plain cross-entropy of all rows.",
            "Ours works in place, so later calls read the gradients of earlier ones; the work does not depend on the values. The others keep the logits and make the gradient beside them.",
          ]
        : []),
      `Max error: on rows ${check[0]} to ${check[check.length - 1]} against float64, ${gradient ? "of the gradient in units of the row's weight" : "in nats"}.`,
      `Ours: ${isa()} tier, ${threads()} threads.`,
      ...peers.greetings,
      ...renderMissing(peers.missing),
    ],
    summary: [summaryLine(question, cases, ours, speed(ours) / speed(yardstick))],
    ...(gradient
      ? {
          bars: cases.flatMap(({ kind, measurement, name }) =>
            kind === "variant" ? [] : [{ name, ms: measurement.medianMs, kind }],
          ),
        }
      : {}),
  };
}

function summaryLine(
  { T, V, dtype, gradient }: LossQuestion,
  cases: readonly LossCase[],
  ours: LossCase,
  share: number,
): [string, string, string] {
  const { measurement, bytes } = ours;
  const best = (pattern: RegExp): LossCase | undefined =>
    cases
      .filter(({ name }) => pattern.test(name))
      .sort((a, b) => a.measurement.medianMs - b.measurement.medianMs)[0];
  const against: [string, LossCase | undefined][] = [
    ["PyTorch eager with its heap warm", best(/^PyTorch eager.*warm$/)],
    ["PyTorch eager as normally run", best(/^PyTorch eager.*default allocator$/)],
    ["torch.compile", best(/^torch\.compile/)],
  ];
  const ratio = (one: LossCase): string =>
    renderRatio(benchRatio(one.measurement, measurement))[0].replace(/ .*/, "");
  const parts = against.flatMap(([label, one]) => (one ? [`${ratio(one)} × ${label}`] : []));
  const bandwidth = gradient ? [`${Math.round(100 * share)} % of a plain in-place update's bandwidth`] : [];
  return [
    `${gradient ? "loss and gradient" : "log-probabilities"}, [${T}, ${V}] ${dtype}`,
    `${measurement.medianMs.toPrecision(2)} ms, ${(bytes / measurement.medianMs / 1e6).toPrecision(3)} GB/s`,
    [...bandwidth, parts.length > 0 ? `speed of ours: ${parts.join(", ")}` : "no peer measured"].join("; "),
  ];
}
