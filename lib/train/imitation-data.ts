import type { TokenSequence } from "../loss/token-sequence.js";
import { CounterRandom } from "../random/counter-random.js";
import { deriveSeed } from "../random/derive-seed.js";

/** Recorded trajectories in batches: every one once per epoch, in an order that depends on (seed, epoch) alone. */
export class ImitationData {
  private readonly sequences: readonly TokenSequence[];
  private readonly seed: number;
  private readonly batchSequences: number;
  private shuffled: { epoch: number; order: readonly TokenSequence[] } | undefined;

  constructor(sequences: readonly TokenSequence[], options: { seed: number; batchSequences: number }) {
    this.sequences = sequences;
    this.seed = options.seed;
    this.batchSequences = options.batchSequences;
  }

  get stepsPerEpoch(): number {
    return Math.ceil(this.sequences.length / this.batchSequences);
  }

  /** The batch of a training step, counted from 1; the last of an epoch may be smaller. */
  batch(step: number): readonly TokenSequence[] {
    const epoch = Math.floor((step - 1) / this.stepsPerEpoch);
    const first = ((step - 1) % this.stepsPerEpoch) * this.batchSequences;
    if (this.shuffled?.epoch !== epoch) {
      const random = new CounterRandom(deriveSeed(this.seed, "imitation", epoch));
      this.shuffled = { epoch, order: random.shuffle(this.sequences) };
    }
    return this.shuffled.order.slice(first, first + this.batchSequences);
  }
}
