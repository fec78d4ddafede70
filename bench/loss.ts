import { bfloat16ToFloat32 } from "../lib/floats/bfloat16-to-float32.js";
import { echoLoss } from "../lib/loss/echo-loss.js";
import { tokenLogprobs } from "../lib/loss/token-logprobs.js";
import { loadNative } from "../lib/native/load.js";
import type { BenchContext } from "./bench-context.js";
import { benchLogits } from "./bench-logits.js";
import { benchRows } from "./bench-rows.js";
import type { BenchTable } from "./bench-table.js";
import { lossError } from "./loss-error.js";
import { LossPeers, type LossQuestion } from "./loss-peers.js";
import { type LossCase, lossTable } from "./loss-table.js";
import type { MeasuredCase } from "./measure.js";
import { measureBeside } from "./measure-beside.js";
import { naiveLoss } from "./naive-loss.js";
import { peakExtraMemory } from "./peak-extra-memory.js";
import { scaleMeasurement } from "./scale-measurement.js";

const T = 256;
const V = 151_936;
/** Rows held against float64: actions and observations. */
const CHECK = [0, 1, 2, 3];
const NAIVE_ROWS = 32;

/** Loss and gradient of a language model's logits, beside other libraries: how near to the speed of memory? */
export async function benchLoss(context: BenchContext): Promise<BenchTable[]> {
  const peers = await LossPeers.open(loadNative().threads());
  const tables: BenchTable[] = [];
  try {
    for (const gradient of [true, false])
      for (const dtype of ["float32", "bfloat16"] as const) {
        const question = { T, V, dtype, gradient, rows: benchRows(T, V, T), check: CHECK };
        tables.push(await benchQuestion(question, peers, context));
      }
  } finally {
    await peers.close();
  }
  return tables;
}

async function benchQuestion(
  question: LossQuestion,
  peers: LossPeers,
  context: BenchContext,
): Promise<BenchTable> {
  const ours = question.gradient ? gradientCases(question) : logprobCases(question);
  const theirs = peers.cases(question);
  const { measured, missing } = await measureBeside(
    [...ours, ...theirs],
    context.effort({ rounds: 9, minSamples: 2, maxTimeS: 0.15 }),
  );
  const peaks = await peers.peaks(theirs.filter(({ name }) => measured.has(name)));
  const cases: LossCase[] = [...ours, ...theirs].flatMap((one) => {
    const found = measured.get(one.name);
    if (!found) return [];
    const all = { kind: "peer" as const, bytes: fullBytes(question), ...one };
    const peak = "run" in one && all.kind === "ours" ? peakExtraMemory(one.run) : peaks.get(one.name);
    return [{ ...all, peak, measurement: scaleMeasurement(found, all.scale) }];
  });
  return lossTable(question, cases, {
    missing: [...peers.missing(question), ...missing],
    greetings: peers.greetings(question),
  });
}

type OurCase = MeasuredCase & Pick<LossCase, "kind" | "bytes" | "error"> & { scale: number };

/** One read and, with a gradient, one write. */
function fullBytes({ dtype, gradient }: LossQuestion): number {
  return (dtype === "float32" ? 4 : 2) * T * V * (gradient ? 2 : 1);
}

function inPlace({ dtype }: LossQuestion): OurCase {
  const size = dtype === "float32" ? 1 : 2;
  const x = new Float32Array((T * V) / size);
  return {
    name: "in-place update, x += 1",
    kind: "yardstick",
    bytes: (8 / size) * T * V,
    scale: 1,
    run: () => loadNative().benchInPlaceUpdate(x, V / size),
  };
}

function gradientCases(question: LossQuestion): OurCase[] {
  const { dtype, rows } = question;
  const bytes = fullBytes(question);
  const quarter = benchRows(T, V, T / 4);
  const logprobsOut = new Float32Array(T);
  // As wide as it is: a Uint16Array needs its type named.
  const logits = dtype === "float32" ? benchLogits(T, V, dtype) : benchLogits(T, V, dtype);
  echoLoss({ logits, dtype, ...rows, logprobsOut });
  const part = logits.subarray(0, CHECK.length * V);
  const gradient = part instanceof Float32Array ? part : bfloat16ToFloat32(part);
  const error = lossError(V, rows, CHECK, { gradient }).gradient;
  const cases: OurCase[] = [
    inPlace(question),
    {
      name: "echoLoss, loss and gradient",
      kind: "ours",
      bytes,
      scale: 1,
      error,
      run: () => void echoLoss({ logits, dtype, ...rows, logprobsOut }),
    },
    {
      name: "echoLoss, a quarter of the rows weighted",
      kind: "variant",
      bytes: bytes / 4 + (bytes / 2) * (3 / 4),
      scale: 1,
      run: () => void echoLoss({ logits, dtype, ...quarter, logprobsOut }),
    },
  ];
  if (dtype === "float32") cases.push(naiveCase(question));
  return cases;
}

function naiveCase(question: LossQuestion): OurCase {
  const few = Object.fromEntries(
    Object.entries(question.rows).map(([name, values]) => [name, values.subarray(0, NAIVE_ROWS)]),
  ) as unknown as LossQuestion["rows"];
  const logits = benchLogits(NAIVE_ROWS, V, "float32");
  naiveLoss(logits, V, few);
  const scale = T / NAIVE_ROWS;
  return {
    name: `plain TypeScript, three loops, ${NAIVE_ROWS} rows times ${scale}`,
    kind: "peer",
    bytes: fullBytes(question),
    scale,
    error: lossError(V, few, CHECK, { gradient: logits }).gradient,
    run: () => void naiveLoss(logits, V, few),
  };
}

function logprobCases(question: LossQuestion): OurCase[] {
  const { dtype } = question;
  const { targets } = question.rows;
  const logits = dtype === "float32" ? benchLogits(T, V, dtype) : benchLogits(T, V, dtype);
  const logprobsOut = tokenLogprobs({ logits, dtype, targets });
  return [
    inPlace(question),
    {
      name: "tokenLogprobs",
      kind: "ours",
      bytes: fullBytes(question),
      scale: 1,
      error: lossError(V, question.rows, CHECK, { logprobs: logprobsOut }).logprobs,
      run: () => void tokenLogprobs({ logits, dtype, targets, logprobsOut }),
    },
  ];
}
