/** How a piece of work ended. */
export type Raced<T> =
  | { kind: "done"; value: T }
  | { kind: "failed"; error: unknown }
  | { kind: "timeout" }
  | { kind: "cancelled" };

/**
 * A stretch of time with an end. Work raced against it is told through `signal` and, heeding it or not, is no longer waited for:
 * one call that never returns must not hold up the batch it belongs to.
 */
export class Deadline {
  private readonly controller = new AbortController();
  private readonly ended: Promise<Raced<never>>;
  private readonly parent: AbortSignal | undefined;
  private readonly timer: NodeJS.Timeout;
  private readonly onParentAbort: () => void;
  private outcome: Raced<never> | undefined;

  constructor(timeoutMs: number, parent?: AbortSignal) {
    let resolve: (outcome: Raced<never>) => void = () => {};
    this.ended = new Promise((settle) => {
      resolve = settle;
    });
    const end = (outcome: Raced<never>, reason: unknown): void => {
      if (this.outcome) return;
      this.outcome = outcome;
      // Before the signal: work that rejects because it is told to stop has not failed.
      resolve(outcome);
      this.controller.abort(reason);
    };
    this.parent = parent;
    this.onParentAbort = () => end({ kind: "cancelled" }, parent?.reason);
    this.timer = setTimeout(
      () => end({ kind: "timeout" }, new DOMException("The deadline passed", "TimeoutError")),
      timeoutMs,
    );
    if (parent?.aborted) this.onParentAbort();
    else parent?.addEventListener("abort", this.onParentAbort, { once: true });
  }

  /** Fires at the deadline or when the parent signal does. */
  get signal(): AbortSignal {
    return this.controller.signal;
  }

  /** Starts `work` and waits for it or for the end, whichever comes first. Never rejects. */
  async race<T>(work: (signal: AbortSignal) => Promise<T> | T): Promise<Raced<T>> {
    if (this.outcome) return this.outcome;
    const run = async (): Promise<Raced<T>> => {
      try {
        return { kind: "done", value: await work(this.signal) };
      } catch (error) {
        return { kind: "failed", error };
      }
    };
    return Promise.race([run(), this.ended]);
  }

  /** Releases the timer and the parent's listener. */
  clear(): void {
    clearTimeout(this.timer);
    this.parent?.removeEventListener("abort", this.onParentAbort);
  }
}
