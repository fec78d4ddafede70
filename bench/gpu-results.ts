import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** One kernel at one size, by bench/cuda/loss_bench.cu. */
export interface GpuMeasurement {
  kernel: string;
  dtype: string;
  gradientDtype?: string;
  vocab: number;
  rows: number;
  masked: number;
  /** Median, and the quantiles 0.2 and 0.8; absent where it failed. */
  ms?: number;
  p20?: number;
  p80?: number;
  usefulGBps?: number;
  copyGBps?: number;
  shareOfCopy?: number;
  peakExtraMiB?: number;
  error?: string;
}

/** What tests/gpu/run.sh left in its directory. */
export interface GpuResults {
  date: string;
  commit: string;
  stages: { stage: string; result: string; seconds: number }[];
  kernels?: {
    device: string;
    computeCapability: number;
    multiprocessors: number;
    memoryMiB: number;
    driver: number;
    runtime: number;
    measurements: GpuMeasurement[];
  };
  peers?: {
    device: string;
    torch: string;
    cuda: string;
    absent: Record<string, string>;
    measurements: GpuMeasurement[];
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
    peers: readJson(join(directory, "peers.json")),
  };
}
