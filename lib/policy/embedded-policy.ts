// Continuous batching inside the process. Requests wait for a key-value slot, then every running request takes part in every forward
// pass: those just admitted with their new context, the others with the token sampled last. Between passes the event loop runs, so
// sandboxes answer and new requests join. What a request samples depends on its ids, temperature and seed alone, never on who shares the
// passes with it: the kernels compute each row alike in any batch, and the random numbers are counters.

import { setImmediate } from "node:timers/promises";
import { ArgumentError } from "../errors/argument-error.js";
import { PolicyError } from "../errors/policy-error.js";
import type { EmbeddedDecoder } from "../model/embedded-decoder.js";
import type { NativeSampler } from "../native/native-model.js";
import { checkSampleRequest } from "./check-sample-request.js";
import type { EmbeddedPolicyOptions } from "./embedded-policy-options.js";
import { type KvSlot, KvSlots } from "./kv-slots.js";
import { PendingSample } from "./pending-sample.js";
import type { Policy } from "./policy.js";
import type { SampleRequest } from "./sample-request.js";
import type { SampleResult } from "./sample-result.js";

/** Turns of the event loop a pass waits at most while requests keep arriving. */
const MAX_ARRIVAL_TURNS = 16;

/** Samples from an `EmbeddedDecoder`, many requests at once. */
export class EmbeddedPolicy implements Policy {
  readonly maxContext: number;
  private readonly model: EmbeddedDecoder;
  private readonly sampler: NativeSampler;
  private readonly slots: KvSlots;
  private readonly maxStepTokens: number;
  /** Without a slot, in order of arrival. */
  private readonly waiting = new Set<PendingSample>();
  private readonly running = new Map<PendingSample, KvSlot>();
  private versionNumber: number;
  private weightsVersion: number;
  private arrivals = 0;
  private looping = false;
  private updating: Promise<void> | undefined;
  private disposed = false;

  /** @throws ArgumentError ERR_OUT_OF_RANGE. */
  constructor(options: EmbeddedPolicyOptions) {
    const {
      model,
      slots = 64,
      maxContext = model.config.maxPositions,
      maxStepTokens = 4096,
      version = 0,
    } = options;
    checkInteger("slots", slots, 1, 65_536);
    checkInteger("maxContext", maxContext, 1, model.config.maxPositions);
    checkInteger("maxStepTokens", maxStepTokens, 1, 2 ** 24);
    checkInteger("version", version, 0, Number.MAX_SAFE_INTEGER);
    this.model = model;
    this.maxContext = maxContext;
    this.maxStepTokens = Math.max(maxStepTokens, slots);
    this.versionNumber = version;
    this.weightsVersion = model.weightsVersion;
    this.sampler = model.createSampler(slots, maxContext);
    this.slots = new KvSlots(this.sampler, slots);
  }

  get version(): number {
    return this.versionNumber;
  }

  /**
   * @throws ArgumentError, PolicyError ERR_POLICY_CONTEXT on an unusable request; PolicyError ERR_POLICY when the model's weights changed
   *   without `update()` or its logits are not finite; ERR_POLICY_DISPOSED; the signal's reason when aborted.
   */
  async sample(request: SampleRequest): Promise<SampleResult> {
    checkSampleRequest(request, { vocabSize: this.model.vocabSize, maxContext: this.maxContext });
    request.signal?.throwIfAborted();
    // A failed update rejects where it was asked for; here the check below speaks.
    while (this.updating) await this.updating.catch(() => {});
    request.signal?.throwIfAborted();
    this.checkUsable();
    const room = this.maxContext - request.ids.length;
    if (room === 0) return { ids: [], logprobs: [], finish: "length" };
    const sample = new PendingSample(request, Math.min(request.maxTokens, room), (aborted) =>
      this.fail(aborted, request.signal?.reason),
    );
    this.waiting.add(sample);
    this.arrivals++;
    if (!this.looping) void this.loop();
    return sample.promise;
  }

  endSession(session: string): void {
    this.slots.endSession(session);
  }

  /**
   * Takes the weights the model has now, or those of `directory`, which the model then loads. All cached keys and values are dropped.
   * @throws PolicyError ERR_POLICY while requests are unanswered; whatever `EmbeddedDecoder.load` throws.
   */
  async update(directory?: string): Promise<void> {
    const unanswered = this.waiting.size + this.running.size;
    if (unanswered > 0 || this.updating)
      throw new PolicyError(
        "ERR_POLICY",
        `[EmbeddedPolicy.update] the policy is in use: expected no unanswered request or update, got ${unanswered} requests. Await or abort them first.`,
      );
    if (directory !== undefined) {
      this.updating = this.model.load(directory);
      try {
        await this.updating;
      } finally {
        this.updating = undefined;
      }
    }
    if (this.disposed) throw disposedError();
    this.slots.clear();
    this.weightsVersion = this.model.weightsVersion;
    this.versionNumber++;
  }

  async dispose(): Promise<void> {
    this.disposed = true;
    for (const sample of [...this.waiting, ...this.running.keys()]) this.fail(sample, disposedError());
    this.slots.clear();
  }

  private async loop(): Promise<void> {
    this.looping = true;
    while (this.waiting.size + this.running.size > 0) {
      // Answers resolved by the last pass make rollouts ask again within a few turns: wait for them, fuller passes are cheaper.
      for (let turn = 0, before = -1; turn < MAX_ARRIVAL_TURNS && before !== this.arrivals; turn++) {
        before = this.arrivals;
        await setImmediate();
      }
      this.admit();
      const temperatures = new Set([...this.running.keys()].map(({ request }) => request.temperature));
      for (const temperature of temperatures) this.pass(temperature);
    }
    this.looping = false;
  }

  private admit(): void {
    for (const sample of this.waiting) {
      const { ids, session } = sample.request;
      const slot = this.slots.acquire(ids, session);
      if (!slot) continue;
      sample.unfed = ids.slice(slot.ids.length);
      this.waiting.delete(sample);
      this.running.set(sample, slot);
    }
  }

  /** One forward pass at one temperature: feeds what each sample has not fed yet, oldest first, until the pass is full. */
  private pass(temperature: number): void {
    const tokens: number[] = [];
    const entries: { sample: PendingSample; slot: KvSlot; fed: number[] }[] = [];
    for (const [sample, slot] of this.running) {
      const room = this.maxStepTokens - tokens.length;
      if (room === 0) break;
      if (sample.request.temperature !== temperature) continue;
      const fed = sample.unfed.slice(0, room);
      for (const id of fed) tokens.push(id);
      entries.push({ sample, slot, fed });
    }
    const ids = new Int32Array(entries.length);
    const logprobs = new Float32Array(entries.length);
    try {
      this.checkUsable();
      this.sampler.step(
        Int32Array.from(entries, ({ slot }) => slot.index),
        Int32Array.from(entries, ({ fed }) => fed.length),
        Int32Array.from(tokens),
        BigUint64Array.from(entries, ({ sample }) => sample.request.seed),
        temperature,
        ids,
        logprobs,
      );
    } catch (cause) {
      const error = cause instanceof PolicyError ? cause : passError(cause);
      for (const { sample } of entries) {
        // What the slot holds after a failed pass is unknown.
        if (sample.request.session !== undefined) this.slots.endSession(sample.request.session);
        this.fail(sample, error);
      }
      return;
    }
    for (const [i, { sample, slot, fed }] of entries.entries()) {
      for (const id of fed) slot.ids.push(id);
      sample.unfed = sample.unfed.slice(fed.length);
      // A context fed in part has no next token yet.
      if (sample.unfed.length > 0) continue;
      if (sample.push(ids[i], logprobs[i])) this.leave(sample);
    }
  }

  private fail(sample: PendingSample, error: unknown): void {
    this.leave(sample);
    sample.reject(error);
  }

  private leave(sample: PendingSample): void {
    this.waiting.delete(sample);
    const slot = this.running.get(sample);
    if (!slot) return;
    this.running.delete(sample);
    this.slots.release(slot);
  }

  private checkUsable(): void {
    if (this.disposed) throw disposedError();
    if (this.model.weightsVersion !== this.weightsVersion)
      throw new PolicyError(
        "ERR_POLICY",
        "[EmbeddedPolicy] the model's weights changed: expected update() before the next sample, got none. Call it after every optimiser step.",
      );
  }
}

function disposedError(): PolicyError {
  return new PolicyError(
    "ERR_POLICY_DISPOSED",
    "[EmbeddedPolicy] the policy was disposed: expected a live one. Create another.",
  );
}

function passError(cause: unknown): PolicyError {
  return new PolicyError(
    "ERR_POLICY",
    `[EmbeddedPolicy] a forward pass failed: expected sampled tokens, got "${(cause as Error).message}". Where logits are not finite, load an earlier checkpoint.`,
    { cause },
  );
}

function checkInteger(name: string, value: number, low: number, high: number): void {
  if (!Number.isSafeInteger(value) || value < low || value > high)
    throw new ArgumentError(
      "ERR_OUT_OF_RANGE",
      `[EmbeddedPolicy] ${name}: expected an integer from ${low} to ${high}, got ${value}. Correct the option.`,
    );
}
