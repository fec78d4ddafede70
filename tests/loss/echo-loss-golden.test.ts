import { describe, expect, it } from "vitest";
import { echoLoss } from "../../lib/loss/echo-loss.js";
import { mergeLossTotals } from "../../lib/loss/merge-loss-totals.js";
import { stepWeights } from "../../lib/loss/step-weights.js";
import { tiers, useTier } from "../native/each-tier.js";
import { golden, goldenLogits, goldenStepOptions, relativeError } from "./golden-cases.js";

const V = golden.vocabSize;

describe.each(tiers)("stepWeights and echoLoss on %s", (isa) => {
  it.each(golden.cases)("equal PyTorch's float64: $name", (test) => {
    useTier(isa);
    const step = stepWeights(goldenStepOptions(test));
    const whole = Float32Array.from(goldenLogits(test.batch));
    const [micro] = step.microBatches({ maxTokens: 1000 });
    const { metrics } = echoLoss({ logits: whole, vocabSize: V, ...test.options, ...micro.rows });
    expect(relativeError(whole, test.gradient)).toBeLessThanOrEqual(1e-6);
    expect(metrics.observationLoss).toBeCloseTo(test.observationLoss, 6);
    if (test.options.objective === "imitation")
      expect(metrics.actionNllSum / metrics.actionTokens).toBeGreaterThan(0);
    else expect(metrics.policyLoss).toBeCloseTo(test.policyLoss, 6);

    // The same step in micro-batches: the same bytes, and totals that add up.
    const logits = Float32Array.from(goldenLogits(test.batch));
    const micros = step.microBatches({ maxTokens: 21 });
    expect(micros.length).toBeGreaterThanOrEqual(4);
    let offset = 0;
    const totals = micros.map(({ ids, rows }) => {
      const block = logits.subarray(offset, offset + ids.length * V);
      offset += ids.length * V;
      return echoLoss({ logits: block, vocabSize: V, ...test.options, ...rows }).metrics;
    });
    expect(Buffer.from(logits.buffer).equals(Buffer.from(whole.buffer))).toBe(true);
    const merged = mergeLossTotals(totals);
    for (const [field, value] of Object.entries(metrics))
      expect(merged[field as keyof typeof merged]).toBeCloseTo(value, 12);
  });
});
