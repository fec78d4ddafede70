import { describe, expect, it } from "vitest";
import { ArgumentError } from "../../lib/errors/argument-error.js";
import { groupAdvantages } from "../../lib/loss/advantages.js";

function binary(n: number, successes: number): number[] {
  return Array.from({ length: n }, (_, i) => (i < successes ? 1 : 0));
}

describe("groupAdvantages", () => {
  // n rollouts of which k succeed: advantage of a success and of a failure, to six decimals.
  it.each([
    [16, 1, 3.749985, -0.249999],
    [16, 2, 2.56173, -0.365961],
    [16, 4, 1.677047, -0.559016],
    [16, 8, 0.968244, -0.968244],
    [16, 15, 0.249999, -3.749985],
    [8, 1, 2.474867, -0.353552],
    [4, 1, 1.499997, -0.499999],
  ])("of %i with %i successes", (n, k, success, failure) => {
    const advantages = groupAdvantages(binary(n, k));
    for (let i = 0; i < n; i++)
      expect(Math.abs(advantages[i] - (i < k ? success : failure))).toBeLessThan(6e-7);
  });

  it("is exactly 0 without contrast", () => {
    for (const rewards of [binary(16, 0), binary(16, 16), [0.1, 0.1, 0.1], [5], []])
      for (const normalize of ["std", "mean"] as const)
        expect(groupAdvantages(rewards, { normalize })).toEqual(rewards.map(() => 0));
  });

  it("only centres with mean", () => {
    expect(groupAdvantages([1, 0, 0, 1, 3], { normalize: "mean" })).toEqual([0, -1, -1, 0, 2]);
  });

  it("refuses rewards that are not finite and unknown modes", () => {
    expect(() => groupAdvantages([1, Number.NaN])).toThrow(/rewards\[1\] is not finite/);
    expect(() => groupAdvantages([1, 0], { normalize: "rank" as "std" })).toThrow(ArgumentError);
  });
});
