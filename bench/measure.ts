import Benchmark from "benchmark";
import { quantile } from "./quantile.js";

/** Something to time. Inputs are made beforehand; the result is left where the caller can check it. */
export interface MeasuredCase {
  name: string;
  run(): void;
}

export interface MeasureOptions {
  /** Each round measures every case once, in an order that rotates, so that no case always runs on the warmer or busier machine. Default 3. */
  rounds?: number;
  /** Least samples per case and round. Default 8. */
  minSamples?: number;
  /** Seconds that a case may take in one round once it has its samples. Default 0.5. */
  maxTimeS?: number;
}

/** Times of one call, in milliseconds. */
export interface Measurement {
  name: string;
  /** Median wall-clock time over the samples of all rounds. */
  medianMs: number;
  /** Median of each round: their spread is what to distrust. */
  roundMs: number[];
  /** 20th and 80th percentile of the samples. */
  lowMs: number;
  highMs: number;
  /** Least processor time of a call, over all threads: what a busy machine cannot inflate. */
  cpuMs: number;
  samples: number;
}

/** The least processor time is taken over blocks of at least this long, far above the clock's own step. */
const CPU_BLOCK_MS = 20;
const CPU_BLOCKS = 5;

/**
 * Times synchronous functions with `benchmark`, round by round. Its samples are means over calls that follow each other, so what is
 * reported is the median and the percentiles of those means.
 */
export function measure(cases: readonly MeasuredCase[], options: MeasureOptions = {}): Measurement[] {
  const { rounds = 3, minSamples = 8, maxTimeS = 0.5 } = options;
  const perRound: number[][][] = cases.map(() => []);
  const cpu = cases.map(() => Number.POSITIVE_INFINITY);
  for (let round = 0; round < rounds; round++)
    for (let turn = 0; turn < cases.length; turn++) {
      const index = (turn + round) % cases.length;
      const { name, run } = cases[index];
      const bench = new Benchmark(name, run, { async: false, minSamples, maxTime: maxTimeS }).run();
      if (bench.error) throw bench.error;
      perRound[index].push(bench.stats.sample.map((seconds) => seconds * 1000));
      const calls = Math.max(1, Math.ceil(CPU_BLOCK_MS / (bench.stats.mean * 1000)));
      for (let block = 0; block < CPU_BLOCKS; block++) cpu[index] = Math.min(cpu[index], cpuMs(run, calls));
    }
  return cases.map(({ name }, index) => {
    const samples = perRound[index].flat();
    return {
      name,
      medianMs: quantile(samples, 0.5),
      roundMs: perRound[index].map((round) => quantile(round, 0.5)),
      lowMs: quantile(samples, 0.2),
      highMs: quantile(samples, 0.8),
      cpuMs: cpu[index],
      samples: samples.length,
    };
  });
}

function cpuMs(run: () => void, calls: number): number {
  const before = process.cpuUsage();
  for (let i = 0; i < calls; i++) run();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000 / calls;
}
