import { philox } from "./philox.js";

/** A stream of random numbers that is a pure function of its 64-bit seed (see `deriveSeed`). */
export class CounterRandom {
  private readonly key: [number, number];
  private counter = 0;

  constructor(seed: bigint) {
    this.key = [Number(seed & 0xffff_ffffn), Number((seed >> 32n) & 0xffff_ffffn)];
  }

  /** Uniform in [0, 1) with 53 random bits. */
  next(): number {
    const n = this.counter++;
    const words = philox([n >>> 0, Math.floor(n / 0x1_0000_0000), 0, 0], this.key);
    return ((words[0] >>> 5) * 67108864 + (words[1] >>> 6)) / 9007199254740992;
  }

  /** Uniform integer in [0, n). */
  integer(n: number): number {
    return Math.floor(this.next() * n);
  }

  pick<T>(items: readonly T[]): T {
    return items[this.integer(items.length)];
  }

  /** A shuffled copy (Fisher-Yates). */
  shuffle<T>(items: readonly T[]): T[] {
    const result = [...items];
    for (let i = result.length - 1; i > 0; i--) {
      const j = this.integer(i + 1);
      [result[i], result[j]] = [result[j], result[i]];
    }
    return result;
  }
}
