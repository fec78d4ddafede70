import { describe, expect, it } from "vitest";
import { ArgumentError } from "../../lib/errors/argument-error.js";
import { learningRateAt } from "../../lib/optim/learning-rate-at.js";
import type { Schedule } from "../../lib/optim/schedule.js";

const rates = (schedule: Schedule, steps: number): number[] =>
  Array.from({ length: steps }, (_, step) => learningRateAt(schedule, step));

describe("learningRateAt", () => {
  it("follows each schedule by hand", () => {
    expect(rates({ kind: "constant", peak: 3 }, 3)).toEqual([3, 3, 3]);
    expect(rates({ kind: "constant", peak: 4, warmupSteps: 4 }, 6)).toEqual([1, 2, 3, 4, 4, 4]);
    expect(rates({ kind: "linear", peak: 8, totalSteps: 6, warmupSteps: 2 }, 8)).toEqual([
      4, 8, 8, 6, 4, 2, 0, 0,
    ]);
    expect(rates({ kind: "linear", peak: 8, totalSteps: 4, finalShare: 0.5 }, 6)).toEqual([8, 7, 6, 5, 4, 4]);
    const cosine = rates({ kind: "cosine", peak: 2, totalSteps: 4, finalShare: 0.1 }, 6);
    const expected = [
      2,
      0.2 + 1.8 * (0.5 + Math.SQRT1_2 / 2),
      1.1,
      0.2 + 1.8 * (0.5 - Math.SQRT1_2 / 2),
      0.2,
      0.2,
    ];
    for (const [step, rate] of cosine.entries()) expect(rate).toBeCloseTo(expected[step], 12);
    expect(rates({ kind: "cosine", peak: 2, totalSteps: 2, warmupSteps: 2 }, 4)).toEqual([1, 2, 0, 0]);
  });

  it.each([
    [{ kind: "constant", peak: -1 }, 0, "peak"],
    [{ kind: "constant", peak: 1, warmupSteps: 1.5 }, 0, "warmupSteps"],
    [{ kind: "linear", peak: 1, totalSteps: 3, warmupSteps: 4 }, 0, "totalSteps"],
    [{ kind: "cosine", peak: 1, totalSteps: 3, finalShare: 2 }, 0, "finalShare"],
    [{ kind: "constant", peak: 1 }, -1, "step"],
  ] as [Schedule, number, string][])("refuses %o at step %d", (schedule, step, name) => {
    expect(() => learningRateAt(schedule, step)).toThrow(ArgumentError);
    expect(() => learningRateAt(schedule, step)).toThrow(`[learningRateAt] ${name} is unusable: expected`);
  });
});
