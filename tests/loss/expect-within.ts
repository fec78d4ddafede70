import { expect } from "vitest";

/** The largest error, in units of relative · |expected| + absolute, is below 1. */
export function expectWithin(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  relative: number,
  absolute: number,
) {
  expect(actual.length).toBe(expected.length);
  let worst = 0;
  for (let i = 0; i < expected.length; i++)
    worst = Math.max(
      worst,
      Math.abs(actual[i] - expected[i]) / (relative * Math.abs(expected[i]) + absolute),
    );
  expect(worst).toBeLessThan(1);
}
