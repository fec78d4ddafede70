import { describe, expect, it } from "vitest";
import { echoLoss } from "../../lib/loss/echo-loss.js";
import { referenceLoss } from "../../lib/loss/reference.js";
import { tiers, useTier } from "../native/each-tier.js";
import { OPTION_VARIANTS } from "./option-variants.js";
import { sequenceBlock } from "./sequence-block.js";

/** What errors of a row's gradient are relative to: the largest |G| that its weights allow. */
const SCALE = 6;

describe.each(tiers)("echoLoss on %s equals the reference", (isa) => {
  describe.each(OPTION_VARIANTS)("%s", (_name, options) => {
    it.each([
      [0, 5, 5],
      [24, 1, 1],
      [24, 17, 19],
      [30, 300, 300],
    ])("%i rows of %i, stride %i", (rows, vocab, ld) => {
      useTier(isa, 2);
      const block = sequenceBlock(rows + vocab, rows, vocab, ld);
      // Rows without weight are not read, nor is the padding.
      for (let t = 0; t < rows; t++) {
        const weightless = block.actionWeights[t] === 0 && block.observationWeights[t] === 0;
        block.logits.fill(Number.NaN, t * ld + (weightless ? 0 : vocab), (t + 1) * ld);
      }
      const logits = block.logits.slice();
      const entropiesOut = new Float32Array(rows);
      const result = echoLoss({ ...block, logits, entropiesOut, ...options });
      const dense = Float64Array.from(
        { length: rows * vocab },
        (__, k) => block.logits[Math.floor(k / vocab) * ld + (k % vocab)],
      );
      const expected = referenceLoss({ logits: dense, rows: block, vocabSize: vocab, options });
      expect(Math.abs(result.loss - expected.loss)).toBeLessThan(2e-5);
      for (const [key, value] of Object.entries(expected.totals))
        expect(
          Math.abs((result.metrics[key as keyof typeof result.metrics] ?? Number.NaN) - value),
          key,
        ).toBeLessThan(1e-4);
      expect(Object.keys(result.metrics).sort()).toEqual(Object.keys(expected.totals).sort());
      for (let t = 0; t < rows; t++) {
        expect(Math.abs(result.logprobs[t] - expected.logprobs[t])).toBeLessThan(4e-6);
        expect(Math.abs(entropiesOut[t] - expected.entropies[t])).toBeLessThan(4e-6);
        for (let j = 0; j < ld; j++) {
          const value = j < vocab ? expected.gradient[t * vocab + j] : 0;
          const error = Math.abs(logits[t * ld + j] - value);
          if (!(error < 2e-6 * SCALE))
            expect.fail(`row ${t}, column ${j}: ${logits[t * ld + j]}, expected ${value}`);
        }
      }
    });
  });
});

it("a reference gradient is the slope of its loss, whatever the options", () => {
  const vocab = 5;
  for (const [name, options] of OPTION_VARIANTS) {
    const block = sequenceBlock(3, 12, vocab);
    const rows = block;
    const logits = Float64Array.from(block.logits);
    const loss = (): number => referenceLoss({ logits, rows, vocabSize: vocab, options }).loss;
    const { gradient, totals } = referenceLoss({ logits, rows, vocabSize: vocab, options });
    expect(totals.actionTokens).toBeGreaterThan(2);
    // A detached ratio is a constant of the loss that is differentiated, and so not of this difference.
    if (options.surrogate === "cispo") continue;
    for (let k = 0; k < logits.length; k++) {
      const x = logits[k];
      logits[k] = x + 1e-5;
      const above = loss();
      logits[k] = x - 1e-5;
      const below = loss();
      logits[k] = x;
      const slope = ((above - below) / 2e-5) * (options.gradScale ?? 1);
      expect(Math.abs(slope - gradient[k]), `${name}, logit ${k}`).toBeLessThan(1e-6);
    }
  }
});
