import { describe, expect, it } from "vitest";
import type { LossTotals } from "../../lib/loss/loss-totals.js";
import { mergeLossTotals } from "../../lib/loss/merge-loss-totals.js";

const part = (scale: number): LossTotals => ({
  policyLoss: scale,
  observationLoss: 2 * scale,
  actionTokens: 3 * scale,
  observationTokens: 4 * scale,
  observationNllSum: 5 * scale,
  observationNllAtOneSum: 6 * scale,
  actionNllSum: 7 * scale,
  ratioSum: 8 * scale,
  ratioMax: 9 / scale,
  clippedLow: 10 * scale,
  clippedHigh: 11 * scale,
  nonfiniteRows: 12 * scale,
  klLoss: 13 * scale,
  entropyLoss: 14 * scale,
  surrogateSum: 15 * scale,
  klSum: 16 * scale,
  entropySum: 17 * scale,
  clippedDual: 18 * scale,
});

describe("mergeLossTotals", () => {
  it("adds every field but ratioMax, which is the largest", () => {
    expect(mergeLossTotals([part(1), part(2), part(4)])).toEqual({ ...part(7), ratioMax: 9 });
  });

  it.each(["observationNllAtOneSum", "klSum", "entropySum"] as const)(
    "leaves %s out unless every part has it",
    (field) => {
      const { [field]: _, ...without } = part(1);
      expect(mergeLossTotals([part(1), without as LossTotals])).not.toHaveProperty(field);
      expect(mergeLossTotals([])).not.toHaveProperty(field);
      expect(mergeLossTotals([]).ratioMax).toBe(0);
    },
  );
});
