/** Wall-clock time of the parts of a step, in milliseconds: for `timings.jsonl` and people, never for a decision. */
export class StepClock {
  private readonly parts: Record<string, number> = {};
  private readonly start = performance.now();

  async time<T>(part: string, job: () => Promise<T>): Promise<T> {
    const start = performance.now();
    try {
      return await job();
    } finally {
      this.parts[part] = (this.parts[part] ?? 0) + performance.now() - start;
    }
  }

  get elapsedMs(): number {
    return performance.now() - this.start;
  }

  /** `time/<part>` in seconds. */
  timings(): Record<string, number> {
    const seconds = (ms: number): number => Math.round(ms) / 1000;
    return {
      "time/step": seconds(this.elapsedMs),
      ...Object.fromEntries(Object.entries(this.parts).map(([part, ms]) => [`time/${part}`, seconds(ms)])),
    };
  }
}
