import { describe, expect, it } from "vitest";
import { referenceLoss } from "../../lib/loss/reference.js";
import { stepWeights } from "../../lib/loss/step-weights.js";
import { golden, goldenLogits, goldenStepOptions, relativeError, worstGoldenError } from "./golden-cases.js";

describe("the float64 reference", () => {
  it("equals PyTorch's float64 loss and gradient, weights unrounded", () => {
    expect(golden.cases.length).toBeGreaterThanOrEqual(18);
    expect(worstGoldenError(stepWeights)).toBeLessThanOrEqual(1e-12);
  });

  it.each(golden.cases)("equals PyTorch with the float32 rows of a micro-batch: $name", (test) => {
    const [micro] = stepWeights(goldenStepOptions(test)).microBatches({ maxTokens: 1000 });
    const { gradient, totals } = referenceLoss({
      logits: goldenLogits(test.batch),
      rows: micro.rows,
      vocabSize: golden.vocabSize,
      options: test.options,
    });
    expect(relativeError(gradient, test.gradient)).toBeLessThanOrEqual(3e-7);
    expect(totals.observationLoss).toBeCloseTo(test.observationLoss, 7);
    if (test.options.objective !== "imitation") expect(totals.policyLoss).toBeCloseTo(test.policyLoss, 7);
  });

  it("reports what PyTorch's formula implies at clip edges", () => {
    const test = golden.cases.find(({ name }) => name === "echo, clip edges");
    if (!test) throw new Error("golden case missing");
    const options = goldenStepOptions(test);
    const [micro] = stepWeights(options).microBatches({ maxTokens: 1000 });
    const { totals } = referenceLoss({
      logits: goldenLogits(test.batch),
      rows: micro.rows,
      vocabSize: golden.vocabSize,
    });
    // The script cycles through these ratios over the action tokens in order.
    const ratios = [0.799, 0.801, 1.199, 1.201, 1, 0.3, 4];
    let k = 0;
    let low = 0;
    let high = 0;
    for (const { roles, advantage } of options.sequences)
      for (const role of roles)
        if (role === 1) {
          const ratio = ratios[k++ % ratios.length];
          if (advantage < 0 && ratio < 0.8) low++;
          if (advantage > 0 && ratio > 1.2) high++;
        }
    expect(low).toBeGreaterThan(0);
    expect(high).toBeGreaterThan(0);
    expect([totals.clippedLow, totals.clippedHigh, totals.actionTokens]).toEqual([low, high, k]);
    expect(totals.ratioMax).toBeCloseTo(4, 4);
  });
});
