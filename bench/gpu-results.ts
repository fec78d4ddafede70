import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { GpuMeasurement } from "./gpu-measurement.js";

/** The loss at one size. */
export interface GpuLossMeasurement extends GpuMeasurement {
  vocab: number;
  rows: number;
  /** Share of the rows without a weight. */
  masked: number;
}

/** The optimiser over a set of tensors. */
export interface GpuOptimizerMeasurement extends GpuMeasurement {
  parameters: number;
  tensors: number;
  /** What has to be read and written of each. */
  bytesPerParameter: number;
  /** With a finite limit of the norm. Only of whole calls. */
  clipped?: boolean;
  /** Of an agreement: by what differs, relative to the largest number of its kind. */
  differences?: Record<string, number>;
}

/** What a program of bench/cuda prints. */
export interface GpuBench<M extends GpuMeasurement> {
  device: string;
  computeCapability: number;
  multiprocessors: number;
  memoryMiB: number;
  driver: number;
  runtime: number;
  measurements: M[];
}

/** What tests/gpu/run.sh left in its directory. */
export interface GpuResults {
  date: string;
  commit: string;
  stages: { stage: string; result: string; seconds: number }[];
  /** By bench/cuda/loss_bench.cu and optim_bench.cu. */
  kernels?: GpuBench<GpuLossMeasurement>;
  optimizer?: GpuBench<GpuOptimizerMeasurement>;
  /** By bench/cuda/peers.py. */
  peers?: {
    device: string;
    torch: string;
    cuda: string;
    absent: Record<string, string>;
    /** Of the loss. */
    measurements: GpuLossMeasurement[];
    optimizer: GpuOptimizerMeasurement[];
  };
}

function readJson<T>(path: string): T | undefined {
  return existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as T) : undefined;
}

/**
 * @param directory what `--out` of tests/gpu/run.sh was.
 * @throws Error when there is no stages.jsonl: nothing ran.
 */
export function readGpuResults(directory: string): GpuResults {
  const stages = join(directory, "stages.jsonl");
  if (!existsSync(stages))
    throw new Error(
      `[readGpuResults] nothing ran: expected ${stages}, got no such file. Run tests/gpu/run.sh --out ${directory} first.`,
    );
  const [date = "", commit = "unknown"] = existsSync(join(directory, "run.txt"))
    ? readFileSync(join(directory, "run.txt"), "utf8").trim().split(" ")
    : [];
  return {
    date,
    commit,
    // A stage that was run again counts as it ended last.
    stages: [
      ...new Map(
        readFileSync(stages, "utf8")
          .trim()
          .split("\n")
          .map((line) => JSON.parse(line) as GpuResults["stages"][number])
          .map((stage) => [stage.stage, stage]),
      ).values(),
    ],
    kernels: readJson(join(directory, "loss.json")),
    optimizer: readJson(join(directory, "optim.json")),
    peers: readJson(join(directory, "peers.json")),
  };
}
