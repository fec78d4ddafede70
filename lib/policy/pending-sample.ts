import type { SampleRequest } from "./sample-request.js";
import type { SampleResult } from "./sample-result.js";

/** A request an `EmbeddedPolicy` has not answered yet. */
export class PendingSample {
  readonly request: SampleRequest;
  readonly promise: Promise<SampleResult>;
  /** Tokens that must still be fed before the next one can be sampled. */
  unfed: number[];
  private readonly limit: number;
  private readonly stop: ReadonlySet<number>;
  private readonly ids: number[] = [];
  private readonly logprobs: number[] = [];
  private resolve: (result: SampleResult) => void = () => {};
  private rejectPromise: (error: unknown) => void = () => {};
  private onAbort: (() => void) | undefined;

  /** @param limit most tokens to sample. @param onAbort called once if the request's signal fires. */
  constructor(request: SampleRequest, limit: number, onAbort: (sample: PendingSample) => void) {
    // The caller may go on writing to its arrays (a transcript) while this waits.
    this.request = { ...request, ids: [...request.ids] };
    this.unfed = [...request.ids];
    this.limit = limit;
    this.stop = new Set(request.stop);
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.rejectPromise = reject;
    });
    if (request.signal) {
      this.onAbort = () => onAbort(this);
      request.signal.addEventListener("abort", this.onAbort, { once: true });
    }
  }

  /** Takes a sampled token; true when the request is answered. */
  push(id: number, logprob: number): boolean {
    this.ids.push(id);
    this.logprobs.push(logprob);
    const stopped = this.stop.has(id);
    if (!stopped && this.ids.length < this.limit) {
      this.unfed = [id];
      return false;
    }
    this.unlisten();
    this.resolve({ ids: this.ids, logprobs: this.logprobs, finish: stopped ? "stop" : "length" });
    return true;
  }

  reject(error: unknown): void {
    this.unlisten();
    this.rejectPromise(error);
  }

  private unlisten(): void {
    if (this.onAbort) this.request.signal?.removeEventListener("abort", this.onAbort);
    this.onAbort = undefined;
  }
}
