import { describe, expect, it } from "vitest";
import { startPolicyArchitecture } from "../../lib/train/start-policy-architecture.js";
import { START_POLICY_RECIPE } from "../../lib/train/start-policy-recipe.js";

describe("startPolicyArchitecture", () => {
  it("is the recipe's when nothing is asked for", () => {
    expect(startPolicyArchitecture({})).toEqual(START_POLICY_RECIPE.architecture);
  });

  it("keeps proportions and head width in another size", () => {
    expect(startPolicyArchitecture({ hiddenSize: 192, layers: 6 })).toEqual({
      ...START_POLICY_RECIPE.architecture,
      hiddenSize: 192,
      intermediateSize: 576,
      numLayers: 6,
      numHeads: 6,
      numKvHeads: 3,
    });
    expect(startPolicyArchitecture({ hiddenSize: 64 })).toMatchObject({ numHeads: 2, numKvHeads: 1 });
  });

  it.each([
    [{ hiddenSize: 96 }, /hiddenSize: expected a multiple of 64, got 96/],
    [{ hiddenSize: 0 }, /hiddenSize/],
    [{ hiddenSize: Number.NaN }, /hiddenSize/],
    [{ layers: 0 }, /layers: expected an integer >= 1, got 0/],
    [{ layers: 1.5 }, /layers/],
  ])("refuses %o", (size, message) => {
    expect(() => startPolicyArchitecture(size)).toThrow(message);
    expect(() => startPolicyArchitecture(size)).toThrow(expect.objectContaining({ code: "ERR_CONFIG" }));
  });
});
