import { type Sample, sample } from "./sample.js";
import { summarize } from "./summarize.js";

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

/**
 * Times synchronous functions with `benchmark`, round by round. Its samples are means over calls that follow each other, so what is
 * reported is the median and the percentiles of those means.
 */
export function measure(cases: readonly MeasuredCase[], options: MeasureOptions = {}): Measurement[] {
  const { rounds = 3, minSamples = 8, maxTimeS = 0.5 } = options;
  const samples: Sample[][] = cases.map(() => []);
  for (let round = 0; round < rounds; round++)
    for (let turn = 0; turn < cases.length; turn++) {
      const index = (turn + round) % cases.length;
      samples[index].push(sample(cases[index], { rounds, minSamples, maxTimeS }));
    }
  return cases.map(({ name }, index) => summarize(name, samples[index]));
}
