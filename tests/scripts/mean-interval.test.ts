import { expect, it } from "vitest";
import { meanInterval } from "../../scripts/mean-interval.js";

it("is Student's interval of a mean", () => {
  // Worked by hand: mean 3, variance 2.5, t(4) = 2.776.
  const { half, mean } = meanInterval([1, 2, 3, 4, 5]);
  expect(mean).toBe(3);
  expect(half).toBeCloseTo(2.776 * Math.sqrt(0.5), 12);
  expect(meanInterval([7])).toEqual({ mean: 7 });
  expect(meanInterval([2, 4]).half).toBeCloseTo(12.706, 3);
});
