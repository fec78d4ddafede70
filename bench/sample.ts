import Benchmark from "benchmark";
import type { MeasuredCase, MeasureOptions } from "./measure.js";

/** What one round of one case gave, in milliseconds of a call. */
export interface Sample {
  /** Means over calls that follow each other. */
  samplesMs: number[];
  /** Least processor time, over all threads. */
  cpuMs: number;
}

/** The least processor time is taken over blocks of at least this long, far above the clock's own step. */
const CPU_BLOCK_MS = 20;
/** Fewer of blocks that take so long that nothing short can disturb them. */
const CPU_BLOCKS = 5;
const CPU_BLOCKS_OF_SLOW = 2;
const SLOW_MS = 100;

/** Times a synchronous function once round. */
export function sample({ name, run }: MeasuredCase, options: Required<MeasureOptions>): Sample {
  const { minSamples, maxTimeS } = options;
  const bench = new Benchmark(name, run, { async: false, minSamples, maxTime: maxTimeS }).run();
  if (bench.error) throw bench.error;
  const meanMs = bench.stats.mean * 1000;
  const calls = Math.max(1, Math.ceil(CPU_BLOCK_MS / meanMs));
  let cpu = Number.POSITIVE_INFINITY;
  for (let block = 0; block < (meanMs > SLOW_MS ? CPU_BLOCKS_OF_SLOW : CPU_BLOCKS); block++)
    cpu = Math.min(cpu, cpuMs(run, calls));
  return { samplesMs: bench.stats.sample.map((seconds) => seconds * 1000), cpuMs: cpu };
}

function cpuMs(run: () => void, calls: number): number {
  const before = process.cpuUsage();
  for (let i = 0; i < calls; i++) run();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000 / calls;
}
