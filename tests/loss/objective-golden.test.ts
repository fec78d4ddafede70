import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { echoLoss } from "../../lib/loss/echo-loss.js";
import type { LossOptions } from "../../lib/loss/loss-options.js";
import { referenceLoss } from "../../lib/loss/reference.js";
import { tiers, useTier } from "../native/each-tier.js";
import { relativeError } from "./golden-cases.js";

/** PyTorch float64 and TRL, written by tests/golden/make_objective_golden.py. */
const golden = JSON.parse(readFileSync(new URL("../golden/objective.json", import.meta.url), "utf8")) as {
  vocabSize: number;
  sequences: number;
  length: number;
  targets: number[];
  logits: number[];
  advantages: number[];
  cases: {
    name: string;
    options: LossOptions;
    actionWeights: number[];
    loss: number;
    gradient: number[];
    oldLogprobs: number[];
    samplerLogprobs: number[];
    referenceLogprobs: number[];
  }[];
};

const cuSeqLens = Int32Array.from({ length: golden.sequences + 1 }, (_, i) => i * golden.length);
const { vocabSize } = golden;

describe("every option of the objective", () => {
  it.each(golden.cases)("float64 reference, $name", (test) => {
    const { loss, gradient } = referenceLoss({
      logits: golden.logits,
      rows: {
        ...test,
        targets: golden.targets,
        advantages: golden.advantages,
        observationWeights: test.actionWeights.map(() => 0),
        cuSeqLens,
      },
      vocabSize,
      options: test.options,
    });
    expect(Math.abs(loss - test.loss)).toBeLessThan(1e-12);
    expect(relativeError(gradient, test.gradient)).toBeLessThan(1e-11);
  });

  describe.each(tiers)("echoLoss on %s", (isa) => {
    it.each(golden.cases)("$name", (test) => {
      useTier(isa);
      const logits = Float32Array.from(golden.logits);
      const result = echoLoss({
        logits,
        vocabSize,
        targets: Int32Array.from(golden.targets),
        advantages: Float32Array.from(golden.advantages),
        actionWeights: Float32Array.from(test.actionWeights),
        observationWeights: new Float32Array(test.actionWeights.length),
        oldLogprobs: Float32Array.from(test.oldLogprobs),
        samplerLogprobs: Float32Array.from(test.samplerLogprobs),
        referenceLogprobs: Float32Array.from(test.referenceLogprobs),
        cuSeqLens,
        ...test.options,
      });
      expect(Math.abs(result.loss - test.loss)).toBeLessThan(1e-6);
      expect(relativeError(logits, test.gradient)).toBeLessThan(2e-6);
    });
  });
});
