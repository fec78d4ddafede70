import { describe, expect, it } from "vitest";
import { echoLoss } from "../../lib/loss/echo-loss.js";
import { stepWeights } from "../../lib/loss/step-weights.js";
import { tiers, useTier } from "../native/each-tier.js";
import {
  goldenLogits,
  goldenStepOptions,
  relativeError,
  released,
  worstGoldenError,
} from "./golden-cases.js";

describe("the released computation", () => {
  it("is that of stepWeights and the float64 reference, weights unrounded", () => {
    expect(worstGoldenError(stepWeights, released)).toBeLessThanOrEqual(1e-12);
  });

  it("needs its epsilon: without it the observation term is another", () => {
    const exact = (options: Parameters<typeof stepWeights>[0]) =>
      stepWeights({ ...options, observationEpsilon: 0 });
    expect(worstGoldenError(exact, released)).toBeGreaterThan(1e-5);
  });

  it("covers sequences without observations, without actions, without either, and with warnings alone", () => {
    const roles = released.batches.mixed.map((sequence) => sequence.roles.slice(1));
    const holds = (has: string, lacks: string) =>
      roles.some(
        (text) => [...has].every((c) => text.includes(c)) && ![...lacks].some((c) => text.includes(c)),
      );
    for (const [has, lacks] of [
      ["ao", ""],
      ["a", "ow"],
      ["o", "a"],
      ["w", "o"],
      ["c", "aow"],
    ])
      expect(holds(has, lacks)).toBe(true);
    expect(new Set(roles.map(({ length }) => length)).size).toBeGreaterThan(5);
  });

  describe.each(tiers)("echoLoss on %s", (isa) => {
    it.each(released.cases)("$name", (test) => {
      useTier(isa);
      const step = stepWeights(goldenStepOptions(test, released));
      for (const maxTokens of [1000, 21]) {
        const logits = Float32Array.from(goldenLogits(test.batch, released));
        let offset = 0;
        let policyLoss = 0;
        let observationLoss = 0;
        for (const { ids, rows } of step.microBatches({ maxTokens })) {
          const block = logits.subarray(offset, offset + ids.length * released.vocabSize);
          offset += block.length;
          const { metrics } = echoLoss({
            logits: block,
            vocabSize: released.vocabSize,
            ...test.options,
            ...rows,
          });
          policyLoss += metrics.policyLoss;
          observationLoss += metrics.observationLoss;
        }
        expect(offset).toBe(logits.length);
        expect(Math.abs(policyLoss - test.policyLoss)).toBeLessThan(1e-6);
        expect(Math.abs(observationLoss - test.observationLoss)).toBeLessThan(1e-6);
        expect(relativeError(logits, test.gradient)).toBeLessThan(1e-6);
      }
    });
  });
});
