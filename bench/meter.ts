/** Processor and wall-clock time of named parts of a program, in milliseconds. */
export type Times = ReadonlyMap<string, { cpuMs: number; wallMs: number; calls: number }>;

/**
 * Adds up what synchronous functions take. Processor time is that of the whole process, all threads, so a part holds what the thread pool
 * did for it; the garbage collector's helpers are counted to whatever runs.
 */
export class Meter {
  private times = new Map<string, { cpuMs: number; wallMs: number; calls: number }>();

  /** What was measured since the last call. */
  take(): Times {
    const taken = this.times;
    this.times = new Map();
    return taken;
  }

  /** Runs `work` and counts it as `part`. */
  run<T>(part: string, work: () => T): T {
    const start = performance.now();
    const before = process.cpuUsage();
    try {
      return work();
    } finally {
      const { user, system } = process.cpuUsage(before);
      const times = this.times.get(part) ?? { cpuMs: 0, wallMs: 0, calls: 0 };
      times.cpuMs += (user + system) / 1000;
      times.wallMs += performance.now() - start;
      times.calls++;
      this.times.set(part, times);
    }
  }

  /** Replaces methods of `owner` by ones that are counted, each as the part it is given. */
  watch<T extends object>(owner: T, parts: { readonly [Name in keyof T]?: string }): T {
    for (const [name, part] of Object.entries(parts) as [keyof T, string][]) {
      const method = owner[name] as (...args: unknown[]) => unknown;
      const counted = (...args: unknown[]): unknown => this.run(part, () => method.apply(owner, args));
      owner[name] = counted as T[keyof T];
    }
    return owner;
  }
}
