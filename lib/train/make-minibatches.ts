import { CounterRandom } from "../random/counter-random.js";
import { deriveSeed } from "../random/derive-seed.js";

/**
 * Splits items into minibatches of at most `size`, their sizes differing by one at most, after a shuffle that depends on (seed, step, epoch) alone.
 */
export function makeMinibatches<T>(
  items: readonly T[],
  options: { seed: number; step: number; epoch: number; size: number },
): T[][] {
  const random = new CounterRandom(deriveSeed(options.seed, "minibatches", options.step, options.epoch));
  const shuffled = random.shuffle(items);
  const count = Math.ceil(items.length / options.size);
  return Array.from({ length: count }, (_, i) =>
    shuffled.slice(Math.floor((i * items.length) / count), Math.floor(((i + 1) * items.length) / count)),
  );
}
