import { describe, expect, it } from "vitest";
import { mergeLossTotals } from "../../lib/loss/merge-loss-totals.js";
import type { MicroBatch } from "../../lib/loss/micro-batch.js";
import { stepWeights } from "../../lib/loss/step-weights.js";
import type { TokenSequence } from "../../lib/loss/token-sequence.js";
import { CounterRandom } from "../../lib/random/counter-random.js";
import { deriveSeed } from "../../lib/random/derive-seed.js";
import { createLoudDecoder } from "../model/create-loud-decoder.js";
import { TINY_CONFIG } from "../model/tiny-config.js";
import { tiers, useTier } from "../native/each-tier.js";

function randomSequences(count: number): TokenSequence[] {
  const random = new CounterRandom(deriveSeed(11, "decoder-equivalence"));
  return Array.from({ length: count }, () => {
    const length = 4 + random.integer(28);
    return {
      ids: Int32Array.from({ length }, () => random.integer(TINY_CONFIG.vocabSize)),
      roles: Uint8Array.from({ length }, (_, t) => (t === 0 ? 0 : random.pick([0, 1, 1, 2, 2, 3]))),
      advantage: 3 * random.next() - 1.5,
      oldLogprobs: Float32Array.from({ length }, () => -6 + 4 * random.next()),
    };
  });
}

describe.each(tiers)("a whole backward pass on %s", (isa) => {
  const sequences = randomSequences(40);
  const decoder = createLoudDecoder();

  function gradient(micros: readonly MicroBatch[]): { all: Float32Array; loss: number } {
    decoder.zeroGradients();
    const totals = mergeLossTotals(
      micros.map((micro) => decoder.forwardBackward(micro, { temperature: 0.9 })),
    );
    const parts = decoder.parameters().map(({ grad }) => grad);
    const all = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
    let offset = 0;
    for (const part of parts) {
      all.set(part, offset);
      offset += part.length;
    }
    return { all, loss: totals.policyLoss + totals.observationLoss };
  }

  it("8 micro-batches give the parameters' gradient of 1 within 1e-6", () => {
    useTier(isa);
    const step = stepWeights({ sequences });
    const eight = step.microBatches({ maxTokens: Math.ceil(step.counts.tokens / 6.9) });
    const one = step.microBatches({ maxTokens: step.counts.tokens });
    expect([one.length, eight.length]).toEqual([1, 8]);
    const expected = gradient(one);
    const actual = gradient(eight);
    const norm = Math.hypot(...expected.all);
    expect(norm).toBeGreaterThan(1e-3);
    const difference = Math.hypot(...actual.all.map((value, i) => value - expected.all[i]));
    expect(difference / norm).toBeLessThanOrEqual(1e-6);
    expect(actual.loss).toBeCloseTo(expected.loss, 12);
  });

  it("lambda 0 gives the parameters' gradient of GRPO to the byte", () => {
    useTier(isa);
    const maxTokens = 200;
    const blinded = sequences.map((sequence) => ({
      ...sequence,
      roles: sequence.roles.map((role) => (role >= 2 ? 0 : role)),
    }));
    const grpo = gradient(stepWeights({ sequences: blinded }).microBatches({ maxTokens })).all;
    const zero = gradient(stepWeights({ sequences, lambda: 0 }).microBatches({ maxTokens })).all;
    const echo = gradient(stepWeights({ sequences }).microBatches({ maxTokens })).all;
    expect(Buffer.from(zero.buffer).equals(Buffer.from(grpo.buffer))).toBe(true);
    expect(Buffer.from(echo.buffer).equals(Buffer.from(grpo.buffer))).toBe(false);
  });
});
