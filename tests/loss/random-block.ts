import type { EchoLossInput } from "../../lib/loss/echo-loss-input.js";
import { CounterRandom } from "../../lib/random/counter-random.js";
import { deriveSeed } from "../../lib/random/derive-seed.js";

/** Everything `echoLoss` takes by row, with oldLogprobs present. */
export type RandomBlock = { logits: Float32Array } & Required<
  Pick<
    EchoLossInput,
    "vocabSize" | "ld" | "targets" | "actionWeights" | "observationWeights" | "advantages" | "oldLogprobs"
  >
>;

/** A block of random rows: a third action, a third observation, a third without weight. */
export function randomBlock(seed: number, rows: number, vocabSize: number, ld = vocabSize): RandomBlock {
  const random = new CounterRandom(deriveSeed(seed, "test-block", rows, vocabSize, ld));
  const normal = (): number =>
    Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next());
  const kinds = Array.from({ length: rows }, (_, t) => (t + seed) % 3);
  const logits = Float32Array.from({ length: rows * ld }, () => 3 * normal());
  const targets = Int32Array.from({ length: rows }, () => random.integer(vocabSize));
  return {
    logits,
    vocabSize,
    ld,
    targets,
    actionWeights: Float32Array.from(kinds, (kind) => (kind === 0 ? 0.1 + random.next() : 0)),
    observationWeights: Float32Array.from(kinds, (kind) => (kind === 1 ? 0.01 + 0.1 * random.next() : 0)),
    advantages: Float32Array.from({ length: rows }, normal),
    oldLogprobs: Float32Array.from({ length: rows }, (_, t) => {
      const row = logits.subarray(t * ld, t * ld + vocabSize);
      const max = row.reduce((a, b) => Math.max(a, b), -Infinity);
      const sum = row.reduce((a, b) => a + Math.exp(b - max), 0);
      return row[targets[t]] - max - Math.log(sum) + 0.4 * normal();
    }),
  };
}

/** The block again, with its own memory. */
export function copyBlock(block: RandomBlock): RandomBlock {
  return { ...block, logits: block.logits.slice() };
}
