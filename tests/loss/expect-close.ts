import { expect } from "vitest";
import type { LossTotals } from "../../lib/loss/loss-totals.js";

/** Each within `tolerance`, relative above 1; infinities and NaN the same. */
export function expectClose(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number): void {
  expect(actual.length).toBe(expected.length);
  for (let i = 0; i < expected.length; i++) {
    if (!Number.isFinite(expected[i])) expect(actual[i], `element ${i}`).toBe(expected[i]);
    else if (!(Math.abs(actual[i] - expected[i]) < tolerance * (1 + Math.abs(expected[i]))))
      expect.fail(`element ${i}: ${actual[i]}, expected ${expected[i]} within ${tolerance}`);
  }
}

/** The same sums, within 5e-5 and one in a million. */
export function expectCloseTotals(actual: LossTotals, expected: LossTotals): void {
  expect(Object.keys(actual).sort()).toEqual(Object.keys(expected).sort());
  for (const [name, value] of Object.entries(expected)) {
    const got = actual[name as keyof LossTotals] ?? Number.NaN;
    if (!Number.isFinite(value)) expect(got, name).toBe(value);
    else expect(Math.abs(got - value), name).toBeLessThan(5e-5 + 1e-6 * Math.abs(value));
  }
}
