import { setImmediate as turn } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { echoLoss } from "../../lib/loss/echo-loss.js";
import { type EchoLossAsyncInput, echoLossAsync } from "../../lib/loss/echo-loss-async.js";
import { tokenLogprobs } from "../../lib/loss/token-logprobs.js";
import { tokenLogprobsAsync } from "../../lib/loss/token-logprobs-async.js";
import { loadNative } from "../../lib/native/load.js";
import { HostTensor } from "../../lib/tensors/host-tensor.js";
import { tiers, useTier } from "../native/each-tier.js";
import { randomBlock } from "./random-block.js";

const ROWS = 96;
const VOCAB = 150_000;
const fastest = tiers[tiers.length - 1];

/** Work for tens of milliseconds. */
const large = new HostTensor([ROWS, VOCAB]);
const largeInput = (): EchoLossAsyncInput & { logits: HostTensor } => ({
  logits: large,
  targets: new Int32Array(ROWS),
  actionWeights: new Float32Array(ROWS).fill(1),
  observationWeights: new Float32Array(ROWS),
  advantages: new Float32Array(ROWS).fill(1),
  onPolicy: true,
});

function small(seed: number) {
  const { logits, ...block } = randomBlock(seed, 5, 11);
  const tensor = new HostTensor([5, 11]);
  tensor.data.set(logits);
  return { block: { ...block, logits: tensor }, synchronous: { ...block, logits } };
}

describe("calls at once", () => {
  it("are computed and resolve in their order, long ones or short, of either kind", async () => {
    const order: number[] = [];
    const blocks = [1, 2, 3, 4, 5, 6].map(small);
    const calls = blocks.flatMap(({ block }, i) => [
      ...(i % 3 === 0 ? [echoLossAsync(largeInput())] : []),
      tokenLogprobsAsync(block),
      echoLossAsync(block),
      // On the gradient that the call before leaves.
      tokenLogprobsAsync(block),
    ]);
    for (const [i, call] of calls.entries()) void call.then(() => order.push(i));
    const results = await Promise.all(calls);
    expect(order).toEqual(calls.map((_, i) => i));
    const expected = blocks.flatMap(({ synchronous }) => [
      tokenLogprobs(synchronous),
      echoLoss(synchronous),
      tokenLogprobs(synchronous),
    ]);
    expect(results.filter((_, i) => i !== 0 && i !== 10)).toEqual(expected);
    for (const { block, synchronous } of blocks) expect(block.logits.data).toEqual(synchronous.logits);
  });

  it("go on in the turn of the event loop in which they resolve", async () => {
    const events: string[] = [];
    const note = (name: string) => () => events.push(name);
    const { block } = small(1);
    const calls = [1, 2].map((i) =>
      tokenLogprobsAsync(block)
        .then(note(`resolved ${i}`))
        .then(note(`continued ${i}`)),
    );
    await Promise.all(calls);
    expect(events).toEqual(["resolved 1", "continued 1", "resolved 2", "continued 2"]);
  });
});

describe("while a large loss is computed", () => {
  it("timers and immediates run", async () => {
    const events: string[] = [];
    const calls = Promise.all(
      Array.from({ length: 4 }, async (_, i) => {
        await echoLossAsync(largeInput());
        events.push(`loss ${i}`);
      }),
    );
    let timers = 0;
    let turns = 0;
    const timer = setInterval(() => {
      timers++;
      if (timers === 1) events.push("timer");
    }, 1);
    let pending = true;
    const counted = (async () => {
      while (pending) {
        await turn();
        turns++;
      }
    })();
    await calls;
    pending = false;
    await counted;
    clearInterval(timer);
    // Synchronous calls would let neither run before the last of them.
    expect(events.indexOf("timer")).toBeLessThan(events.indexOf("loss 3"));
    expect(timers).toBeGreaterThan(1);
    expect(turns).toBeGreaterThan(4);
    expect(events.filter((event) => event !== "timer")).toEqual(["loss 0", "loss 1", "loss 2", "loss 3"]);
  });

  it("synchronous calls give their bytes", async () => {
    useTier(fastest, 3);
    const { synchronous } = small(9);
    const before = synchronous.logits.slice();
    const expected = echoLoss({ ...synchronous, logits: before.slice() });
    let pending = true;
    const calls = Promise.all([1, 2, 3].map(() => echoLossAsync(largeInput()))).then(() => {
      pending = false;
    });
    let rounds = 0;
    while (pending) {
      expect(echoLoss({ ...synchronous, logits: before.slice() })).toEqual(expected);
      rounds++;
      await turn();
    }
    await calls;
    expect(rounds).toBeGreaterThan(1);
  });

  it("the number of threads changes only between calls", async () => {
    useTier(fastest, 1);
    const expected = await echoLossAsync(largeInput());
    large.data.fill(0);
    const first = await echoLossAsync(largeInput());
    for (const threads of [4, 1, 3, 8]) {
      large.data.fill(0);
      const call = echoLossAsync(largeInput());
      await turn();
      expect(loadNative().setThreads(threads)).toBe(true);
      expect(await call).toEqual(first);
    }
    expect(expected.metrics.actionTokens).toBe(ROWS);
  });
});

describe("an AbortSignal", () => {
  it("already aborted: nothing is queued", async () => {
    const { block, synchronous } = small(2);
    const reason = new Error("no longer wanted");
    for (const run of [echoLossAsync, tokenLogprobsAsync])
      await expect(run({ ...block, signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    await tokenLogprobsAsync(small(1).block);
    expect(block.logits.data).toEqual(synchronous.logits);
  });

  it("takes back what has not begun, and nothing else", async () => {
    const first = Array.from({ length: 8 }, () => echoLossAsync(largeInput()));
    const { block, synchronous } = small(3);
    const other = small(4);
    const controller = new AbortController();
    const taken = [
      echoLossAsync({ ...block, signal: controller.signal }),
      tokenLogprobsAsync({ ...block, signal: controller.signal }),
    ];
    const kept = echoLossAsync(other.block);
    controller.abort();
    for (const call of taken) await expect(call).rejects.toMatchObject({ name: "AbortError" });
    expect(await kept).toEqual(echoLoss(other.synchronous));
    expect((await Promise.all(first)).map(({ metrics }) => metrics.actionTokens)).toEqual(
      new Array(8).fill(ROWS),
    );
    expect(block.logits.data).toEqual(synchronous.logits);
  });

  it("does nothing to a call that has begun or is over", async () => {
    const { block, synchronous } = small(5);
    const over = new AbortController();
    const result = await echoLossAsync({ ...block, signal: over.signal });
    over.abort();
    expect(result).toEqual(echoLoss(synchronous));

    // Begun: the call before it is over, so it is the only one left. The thread that computes may be slow to begin, but the call is either
    // whole or not made.
    large.data.fill(0);
    const controller = new AbortController();
    const before = tokenLogprobsAsync(block);
    const running = echoLossAsync({ ...largeInput(), signal: controller.signal });
    await before;
    await turn();
    controller.abort(new Error("late"));
    const outcome = await running.then(
      ({ metrics }) => metrics.actionTokens,
      (error: Error) => error.message,
    );
    expect([ROWS, "late"]).toContain(outcome);
    for (const t of [0, ROWS - 1])
      expect(large.data.subarray(t * VOCAB, (t + 1) * VOCAB).every((x) => x === 0)).toBe(outcome === "late");
  });
});
