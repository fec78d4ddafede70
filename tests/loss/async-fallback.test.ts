import { describe, expect, it, vi } from "vitest";

// Decided by the first call of this process.
vi.stubEnv("ECHO_GRPO_FALLBACK", "1");
const { echoLoss } = await import("../../lib/loss/echo-loss.js");
const { echoLossAsync } = await import("../../lib/loss/echo-loss-async.js");
const { HostTensor } = await import("../../lib/tensors/host-tensor.js");
const { tokenLogprobs } = await import("../../lib/loss/token-logprobs.js");
const { tokenLogprobsAsync } = await import("../../lib/loss/token-logprobs-async.js");
const { OPTION_VARIANTS } = await import("./option-variants.js");
const { sequenceBlock } = await import("./sequence-block.js");
const { float32ToBfloat16 } = await import("../../lib/floats/float32-to-bfloat16.js");
const { loadOrFallBack } = await import("../../lib/native/load-or-fall-back.js");

function blocks(seed: number) {
  const { logits, ...block } = sequenceBlock(seed, 12, 9, 10);
  const tensor = new HostTensor([12, 10]);
  tensor.data.set(logits);
  return { block: { ...block, logits: tensor }, synchronous: { ...block, logits } };
}

describe("without the addon", () => {
  it("is how these tests run, on a SharedArrayBuffer", () => {
    expect(loadOrFallBack()).toBeUndefined();
    expect(new HostTensor([3]).data.buffer).toBeInstanceOf(SharedArrayBuffer);
  });

  it.each(OPTION_VARIANTS)(
    "asynchronous calls give the numbers of the synchronous ones: %s",
    async (_, options) => {
      const { block, synchronous } = blocks(7);
      const entropiesOut = new Float32Array(12);
      const again = new Float32Array(12);
      const own = {
        ...block,
        ...options,
        entropiesOut: again,
        advantages: block.advantages.slice(),
        targets: block.targets.slice(),
      };
      const call = echoLossAsync(own);
      own.advantages.fill(Number.NaN);
      own.targets.fill(99);
      expect(await call).toEqual(echoLoss({ ...synchronous, ...options, entropiesOut }));
      expect(Float32Array.from(block.logits.data)).toEqual(synchronous.logits);
      expect(again).toEqual(entropiesOut);
      expect(await tokenLogprobsAsync(block)).toEqual(tokenLogprobs(synchronous));
    },
  );

  it("calls resolve later, in their order, and can be taken back", async () => {
    const { block } = blocks(8);
    const events: string[] = [];
    const controller = new AbortController();
    const calls = [
      tokenLogprobsAsync(block).then(() => events.push("first")),
      tokenLogprobsAsync({ ...block, signal: controller.signal }).catch(() => events.push("taken back")),
      echoLossAsync(block).then(() => events.push("third")),
      tokenLogprobsAsync(block).then(() => events.push("fourth")),
    ];
    setImmediate(() => events.push("a later turn"));
    controller.abort();
    events.push("called");
    await Promise.all(calls);
    await new Promise((resolve) => setImmediate(resolve));
    expect(events.indexOf("called")).toBe(0);
    expect(events.filter((event) => /first|third|fourth/.test(event))).toEqual(["first", "third", "fourth"]);
    expect(events).toContain("taken back");
    expect(events.indexOf("a later turn")).toBeLessThan(events.indexOf("fourth"));
  });

  it("takes 16-bit logits, and a bfloat16 gradient over float32", async () => {
    const { block, synchronous } = blocks(9);
    const bits = float32ToBfloat16(synchronous.logits);
    const logits = new HostTensor([12, 10], "bfloat16");
    logits.data.set(bits);
    expect(await tokenLogprobsAsync({ ...block, logits })).toEqual(
      tokenLogprobs({ ...synchronous, logits: bits, dtype: "bfloat16" }),
    );
    expect(await echoLossAsync({ ...block, logits })).toEqual(
      echoLoss({ ...synchronous, logits: bits, dtype: "bfloat16" }),
    );
    expect(Uint16Array.from(logits.data)).toEqual(bits);
    const narrow = { gradientDtype: "bfloat16" } as const;
    expect(await echoLossAsync({ ...block, ...narrow })).toEqual(echoLoss({ ...synchronous, ...narrow }));
    expect(Float32Array.from(block.logits.data)).toEqual(synchronous.logits);
  });

  it("refuses what it cannot compute before it begins", async () => {
    const { block } = blocks(9);
    await expect(echoLossAsync({ ...block, logits: new Float32Array(120) })).rejects.toMatchObject({
      code: "ERR_UNSUPPORTED",
    });
    const wrong = echoLossAsync({ ...block, ratioLevel: "sequence", cuSeqLens: undefined });
    await expect(wrong).rejects.toThrow(/^\[echoLossAsync\] cuSeqLens are missing/);
  });

  it("a disposed tensor is refused, its memory left to the collector", async () => {
    const { block } = blocks(10);
    const call = tokenLogprobsAsync(block);
    block.logits.dispose();
    expect(await call).toHaveLength(12);
    await expect(tokenLogprobsAsync(block)).rejects.toMatchObject({ code: "ERR_DISPOSED" });
  });
});
