import { loadNative } from "../lib/native/load.js";
import type { BenchContext } from "./bench-context.js";
import { benchRatio } from "./bench-ratio.js";
import type { BenchTable } from "./bench-table.js";
import type { MeasuredCase, Measurement } from "./measure.js";
import { measureBeside } from "./measure-beside.js";
import { type OptimizerPeerCase, optimizerPeers } from "./optimizer-peers.js";
import { openTorch } from "./peers/open-torch.js";
import { renderGreeting } from "./peers/render-greeting.js";
import { renderMissing } from "./peers/render-missing.js";
import { renderRatio } from "./render-ratio.js";

const PARAMETERS = 20_000_000;
const CLIPPED_NORM = 1;

/** 0.1 and 1 as the bits of bfloat16 numbers. */
const BFLOAT16_TENTH = 0x3dcd;
const BFLOAT16_ONE = 0x3f80;

type OptimizerCase = MeasuredCase & { bytes: number };

/** Does the optimiser run at the speed of memory, and how does PyTorch's? */
export async function benchOptimizer(context: BenchContext): Promise<BenchTable> {
  const { isa, threads } = loadNative();
  const { cases, first } = ourCases();
  const torch = await openTorch("warm", threads());
  const theirs = "peer" in torch ? optimizerPeers(torch, PARAMETERS, first) : [];
  const effort = context.effort({ rounds: 7, minSamples: 2, maxTimeS: 0.2 });
  const { measured, missing } = await measureBeside([...cases, ...theirs], effort);
  if ("peer" in torch) await torch.peer.close();
  const rows = [...cases, ...theirs].flatMap((one) => {
    const found = measured.get(one.name);
    if (!found) return [];
    const own = "beside" in one ? measured.get(one.beside) : undefined;
    const bytes = "bytes" in one ? one.bytes : cases.find(({ name }) => name === one.beside)?.bytes;
    const speed = bytes === undefined ? "" : bytes / found.medianMs / 1e6;
    const ratio = own ? renderRatio(benchRatio(found, own)) : ["", ""];
    return [[one.name, found.medianMs, speed, found.cpuMs, "beside" in one ? one.beside : "", ...ratio]];
  });
  return {
    title: `Optimiser, ${PARAMETERS / 1e6} M parameters, float32 unless said otherwise`,
    columns: ["operation", "ms", "GB/s", "CPU ms", "beside", "ms ÷ ours", "CPU ÷ ours"],
    rows,
    notes: [
      "AdamW reads 16 bytes of a parameter and writes 12, the norm reads 4; GB/s of the others counts the same bytes.",
      "With bfloat16 values and gradients AdamW reads 14 bytes (master, two moments, gradient) and writes 14 (those three and the value); the norm reads 2.",
      "clip_grad_norm_ writes the gradients; ours hands the factor to AdamW, which applies it as it reads them.",
      ...normNotes(theirs),
      `Ours: ${isa()} tier, ${threads()} threads.`,
      ...("peer" in torch ? [renderGreeting(torch.greeting)] : []),
      ...renderMissing("peer" in torch ? missing : [torch]),
    ],
    summary: summary(measured, theirs),
  };
}

function normNotes(theirs: readonly OptimizerPeerCase[]): string[] {
  const worst = Math.max(...theirs.map(({ normError }) => normError ?? 0));
  if (!(worst > 1e-4)) return [];
  return [
    `PyTorch's norm of these numbers is off by ${(100 * worst).toPrecision(2)} %; ours adds in float64.`,
  ];
}

function ourCases(): { cases: OptimizerCase[]; first: number } {
  const native = loadNative();
  const make = (value: number): Float32Array[] => [new Float32Array(PARAMETERS).fill(value)];
  const [values, grads, firstMoments, secondMoments] = [make(1), make(0.1), make(0), make(0)];
  const [rounded, roundedGrads] = [BFLOAT16_ONE, BFLOAT16_TENTH].map((bits) => [
    new Uint16Array(PARAMETERS).fill(bits),
  ]);
  const update = make(0)[0];
  const decays = Float64Array.of(0.01);
  let step = 0;
  // A case finds the moments, and the masters in `values`, as the one before left them: the work is the same.
  const adamw = (bfloat16Grads: Uint16Array[] | null, factor = 1): void =>
    native.adamwStep(
      bfloat16Grads === null ? values : rounded,
      bfloat16Grads ?? grads,
      firstMoments,
      secondMoments,
      decays,
      1e-3,
      0.9,
      0.95,
      1e-8,
      factor,
      ++step,
      bfloat16Grads === null ? [null] : values,
    );
  adamw(null);
  const first = values[0][PARAMETERS - 1];
  const cases = [
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
    {
      name: "gradient norm, then AdamW with its factor",
      bytes: 32 * PARAMETERS,
      run: () => adamw(null, CLIPPED_NORM / native.gradNorm(grads)),
    },
  ];
  return { cases, first };
}

function summary(
  measured: ReadonlyMap<string, Measurement>,
  theirs: readonly OptimizerPeerCase[],
): [string, string, string][] {
  const [adamw, update] = ["AdamW", "in-place update, x += 1"].map((name) => measured.get(name));
  if (!adamw || !update) return [];
  const speed = (bytes: number, { medianMs }: Measurement): string =>
    ((bytes * PARAMETERS) / medianMs / 1e6).toPrecision(3);
  const against = theirs.flatMap(({ beside, name }) => {
    const found = beside === "AdamW" ? measured.get(name) : undefined;
    return found ? [`${benchRatio(found, adamw).wall.toPrecision(2)} × ${name}`] : [];
  });
  const peers = against.length > 0 ? `speed of ours: ${against.join(", ")}` : "no peer measured";
  return [
    [
      `AdamW, ${PARAMETERS / 1e6} M parameters`,
      `${adamw.medianMs.toPrecision(3)} ms, ${speed(28, adamw)} GB/s`,
      `in-place update ${speed(8, update)} GB/s; ${peers}`,
    ],
  ];
}
