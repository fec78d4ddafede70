import { ArgumentError } from "../errors/argument-error.js";

/** Lets a fixed number of jobs run at once; the others wait in the order in which they came. */
export class Slots {
  readonly count: number;
  private free: number;
  private readonly waiting: (() => void)[] = [];

  /** @throws ArgumentError ERR_OUT_OF_RANGE when `count` is not a positive integer. */
  constructor(count: number) {
    if (!Number.isSafeInteger(count) || count < 1)
      throw new ArgumentError(
        "ERR_OUT_OF_RANGE",
        `[rollout] concurrency is unusable: expected a positive integer, got ${count}. Pass how many rollouts may run at once.`,
      );
    this.count = count;
    this.free = count;
  }

  async run<T>(job: () => Promise<T>): Promise<T> {
    if (this.free > 0) this.free--;
    else await new Promise<void>((start) => this.waiting.push(start));
    try {
      return await job();
    } finally {
      // A waiting job takes the slot over, so that none that comes later can slip in between.
      const next = this.waiting.shift();
      if (next) next();
      else this.free++;
    }
  }
}
