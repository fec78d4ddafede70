import { echoLoss } from "../lib/loss/echo-loss.js";
import { referenceLoss } from "../lib/loss/reference.js";
import { tokenLogprobs } from "../lib/loss/token-logprobs.js";
import { loadNative } from "../lib/native/load.js";
import { CounterRandom } from "../lib/random/counter-random.js";
import { deriveSeed } from "../lib/random/derive-seed.js";
import type { BenchTable } from "./bench-table.js";
import { type MeasuredCase, measure } from "./measure.js";

const T = 256;
const V = 151_936;

/** Rows of which `weighted` carry a weight, actions and observations by turns. */
function rows(weighted: number) {
  const carries = Array.from({ length: T }, (_, t) => (t * weighted) % T < weighted);
  const weight = (odd: number): Float32Array =>
    Float32Array.from(carries, (carried, t) => (carried && t % 2 === odd ? 1 / T : 0));
  return {
    targets: Int32Array.from({ length: T }, (_, t) => (t * 7919) % V),
    actionWeights: weight(0),
    observationWeights: weight(1),
    advantages: new Float32Array(T).fill(1),
    oldLogprobs: new Float32Array(T).fill(-12),
  };
}

/** Loss and gradient of a language model's logits: how near to the speed of memory? */
export function benchLoss(): BenchTable {
  const random = new CounterRandom(deriveSeed(1, "bench/loss"));
  // One row of noise, turned from row to row: drawing every value would take longer than the benchmark.
  const noise = Float32Array.from({ length: V }, () => (random.next() - 0.5) * 12);
  const logits = new Float32Array(T * V);
  for (let t = 0; t < T; t++) {
    const turn = (t * 613) % V;
    logits.set(noise.subarray(turn), t * V);
    logits.set(noise.subarray(0, turn), t * V + V - turn);
  }
  const all = rows(T);
  const quarter = rows(T / 4);
  check(logits.slice(0, 4 * V));

  const logprobsOut = new Float32Array(T);
  const work = logits.slice();
  const cases: (MeasuredCase & { bytes: number })[] = [
    {
      name: "in-place update, x += 1",
      bytes: 8 * T * V,
      run: () => loadNative().benchInPlaceUpdate(work, V),
    },
    {
      name: "echoLoss, loss and gradient",
      bytes: 8 * T * V,
      run: () => void echoLoss({ logits: work, ...all, logprobsOut }),
    },
    {
      name: "echoLoss, a quarter of the rows weighted",
      bytes: (8 * T * V) / 4 + (4 * T * V * 3) / 4,
      run: () => void echoLoss({ logits: work, ...quarter, logprobsOut }),
    },
    {
      name: "tokenLogprobs, no gradient",
      bytes: 4 * T * V,
      run: () => void tokenLogprobs({ logits, targets: all.targets }),
    },
  ];
  const measured = measure(cases, { rounds: 5, minSamples: 5, maxTimeS: 0.4 });
  const speed = measured.map(({ medianMs }, i) => cases[i].bytes / medianMs / 1e6);
  return {
    title: `Loss and gradient, [${T}, ${V}] float32`,
    columns: ["case", "ms", "p20", "p80", "CPU ms", "GB/s", "of an in-place update"],
    rows: measured.map(({ name, medianMs, lowMs, highMs, cpuMs }, i) => [
      name,
      medianMs,
      lowMs,
      highMs,
      cpuMs,
      speed[i],
      `${Math.round((100 * speed[i]) / speed[0])} %`,
    ]),
    notes: [
      "GB/s counts one read and one write of every weighted row, one write of a row without weight (its gradient is 0), one read where there is no gradient.",
      "The loss works in place, so later calls read the gradients of earlier ones; the work does not depend on the values.",
    ],
  };
}

/** Wrong numbers are not worth timing. */
function check(logits: Float32Array): void {
  const part = rows(T);
  const few = {
    targets: part.targets.subarray(0, 4),
    actionWeights: part.actionWeights.subarray(0, 4),
    observationWeights: part.observationWeights.subarray(0, 4),
    advantages: part.advantages.subarray(0, 4),
    oldLogprobs: part.oldLogprobs.subarray(0, 4),
  };
  const expected = referenceLoss({ logits: logits.slice(), vocabSize: V, rows: few });
  const { metrics } = echoLoss({ logits, ...few });
  for (const name of ["policyLoss", "observationLoss"] as const) {
    const difference = Math.abs(metrics[name] - expected.totals[name]);
    if (!(difference <= 1e-6 * Math.abs(expected.totals[name])))
      throw new Error(
        `[bench/loss] ${name} is wrong: expected ${expected.totals[name]}, got ${metrics[name]}.`,
      );
  }
}
