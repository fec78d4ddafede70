import type { NativeSampler } from "../native/native-model.js";

/** A key-value cache of the sampler and who uses it. */
export interface KvSlot {
  readonly index: number;
  /** Tokens whose keys and values it holds. */
  ids: number[];
  /** The session it is kept for, while idle and while in use. */
  session: string | undefined;
  busy: boolean;
  /** Order of last use. */
  lastUsed: number;
}

/**
 * Which session's keys and values lie in which slot of a sampler. A session keeps its slot between requests, so that only new tokens
 * are fed; when slots run out, the least recently used idle one is emptied and its session is fed again from the start when it returns.
 */
export class KvSlots {
  private readonly sampler: NativeSampler;
  private readonly slots: KvSlot[] = [];
  private readonly bySession = new Map<string, KvSlot>();
  private uses = 0;

  constructor(sampler: NativeSampler, count: number) {
    this.sampler = sampler;
    for (let index = 0; index < count; index++)
      this.slots.push({ index, ids: [], session: undefined, busy: false, lastUsed: 0 });
  }

  /**
   * A slot that holds a prefix of `ids`, always shorter than `ids` so that there is a last token to feed. Undefined while every slot,
   * or the session's own, is in use.
   */
  acquire(ids: readonly number[], session: string | undefined): KvSlot | undefined {
    const own = session === undefined ? undefined : this.bySession.get(session);
    const slot = own ?? this.leastUseful();
    if (!slot || slot.busy) return undefined;
    if (slot !== own) {
      this.empty(slot);
      slot.session = session;
      if (session !== undefined) this.bySession.set(session, slot);
    }
    let common = 0;
    while (common < slot.ids.length && common < ids.length - 1 && slot.ids[common] === ids[common]) common++;
    this.sampler.truncate(slot.index, common);
    slot.ids.length = common;
    slot.busy = true;
    slot.lastUsed = ++this.uses;
    return slot;
  }

  /** Ends the use of a slot; it stays with its session, if that is still alive. */
  release(slot: KvSlot): void {
    slot.busy = false;
    if (slot.session === undefined) this.empty(slot);
  }

  endSession(session: string): void {
    const slot = this.bySession.get(session);
    if (!slot) return;
    this.bySession.delete(session);
    slot.session = undefined;
    if (!slot.busy) this.empty(slot);
  }

  /** Forgets everything; no slot may be in use. */
  clear(): void {
    for (const slot of this.slots) this.empty(slot);
  }

  /** An idle slot: a free one, else the least recently used. */
  private leastUseful(): KvSlot | undefined {
    let best: KvSlot | undefined;
    for (const slot of this.slots) if (!slot.busy && (!best || slot.lastUsed < best.lastUsed)) best = slot;
    return best;
  }

  private empty(slot: KvSlot): void {
    if (slot.session !== undefined) this.bySession.delete(slot.session);
    slot.session = undefined;
    slot.ids = [];
    slot.lastUsed = 0;
    this.sampler.truncate(slot.index, 0);
  }
}
