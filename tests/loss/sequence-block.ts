import { CounterRandom } from "../../lib/random/counter-random.js";
import { deriveSeed } from "../../lib/random/derive-seed.js";
import { type RandomBlock, randomBlock } from "./random-block.js";

/** A random block as whole sequences, with what every option reads. The action rows of a sequence have the same weight and advantage. */
export type SequenceBlock = RandomBlock & {
  samplerLogprobs: Float32Array;
  referenceLogprobs: Float32Array;
  cuSeqLens: Int32Array;
};

export function sequenceBlock(seed: number, rows: number, vocabSize: number, ld = vocabSize): SequenceBlock {
  const block = randomBlock(seed, rows, vocabSize, ld);
  const random = new CounterRandom(deriveSeed(seed, "test-sequences", rows, vocabSize, ld));
  const near = (values: Float32Array, width: number): Float32Array =>
    values.map((value) => value + width * (random.next() - 0.5));
  const cuSeqLens = Int32Array.of(
    0,
    Math.floor(rows / 3),
    Math.floor(rows / 3),
    Math.floor((2 * rows) / 3),
    rows,
  );
  const weights = Array.from(cuSeqLens, () => 0.1 + random.next());
  const advantages = Array.from(cuSeqLens, () => 3 * random.next() - 1.5);
  const sequenceOf = (t: number): number => cuSeqLens.findLastIndex((start) => start <= t);
  return {
    ...block,
    cuSeqLens,
    actionWeights: block.actionWeights.map((weight, t) => (weight === 0 ? 0 : weights[sequenceOf(t)])),
    advantages: block.advantages.map((_, t) => advantages[sequenceOf(t)]),
    samplerLogprobs: near(block.oldLogprobs, 0.8),
    referenceLogprobs: near(block.oldLogprobs, 1.5),
  };
}
