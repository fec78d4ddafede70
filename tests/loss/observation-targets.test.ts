import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { stepWeights } from "../../lib/loss/step-weights.js";
import type { StepWeightsOptions } from "../../lib/loss/step-weights-options.js";
import type { TokenSequence } from "../../lib/loss/token-sequence.js";

function sequence(roles: string): TokenSequence {
  return {
    ids: Int32Array.from(roles, (_, t) => t),
    roles: Uint8Array.from(roles, (letter) => "caow".indexOf(letter)),
    advantage: 1,
    oldLogprobs: new Float32Array(roles.length),
  };
}

const LETTERS = { observations: "o", warnings: "w", all: "ow" } as const;

/** The observation weights as docs/objective.md defines them, from the letters alone. */
function definition(texts: readonly string[], options: Omit<StepWeightsOptions, "sequences">): number[][] {
  const { lambda = 0.05, observationEpsilon: epsilon = 0, observationTargets = "observations" } = options;
  const targets = texts.map((text) =>
    [...text.slice(1).matchAll(/[ow]+/g)].flatMap((answer) =>
      [...answer[0]]
        .map((letter, k) => ({ letter, t: 1 + answer.index + k }))
        .filter(({ letter }) => LETTERS[observationTargets].includes(letter))
        .slice(0, options.maxObservationTokens)
        .map(({ t }) => t),
    ),
  );
  return texts.map((text, i) => {
    const size = {
      all: texts.length * (text.slice(1).replace(/[^ow]/g, "").length + epsilon),
      selected: texts.length * (targets[i].length + epsilon),
      token: targets.flat().length + epsilon,
    }[options.observationDenominator ?? "all"];
    return [...text].map((_, t) => (targets[i].includes(t) ? lambda / size : 0));
  });
}

const texts = fc.array(
  fc
    .array(fc.constantFrom("c", "a", "o", "o", "w"), { maxLength: 14 })
    .map((letters) => `c${letters.join("")}`),
  { minLength: 1, maxLength: 5 },
);
const settings = fc.record(
  {
    lambda: fc.constantFrom(0, 0.05, 1),
    observationTargets: fc.constantFrom("observations", "all", "warnings"),
    observationDenominator: fc.constantFrom("all", "selected", "token"),
    observationEpsilon: fc.constantFrom(0, 1e-3),
    maxObservationTokens: fc.constantFrom(1, 2, 3, 100),
    envOnly: fc.boolean(),
  },
  { requiredKeys: [] },
) as fc.Arbitrary<Omit<StepWeightsOptions, "sequences">>;

describe("observation targets", () => {
  it("weigh as they are defined, whatever the mode, the denominator and the limit", () => {
    fc.assert(
      fc.property(texts, settings, (letters, options) => {
        const step = stepWeights({ ...options, sequences: letters.map(sequence) });
        const expected = definition(letters, options);
        for (const [i, weights] of expected.entries())
          expect([...step.sequenceWeights(i).observation]).toEqual(weights);
        const { counts } = step;
        const tokens = letters.map((text) => text.slice(1)).join("");
        const target = LETTERS[options.observationTargets ?? "observations"];
        const all = [...tokens].filter((letter) => target.includes(letter)).length;
        expect(counts.observationTokens + counts.droppedObservationTokens).toBe(all);
        expect(counts.warningTokens).toBe(tokens.split("w").length - 1);
        if (options.lambda !== 0)
          expect(counts.observationTokens).toBe(expected.flat().filter((weight) => weight > 0).length);
      }),
      { numRuns: 300 },
    );
  });

  it("are comparable: the weights of all are those of observations and of warnings", () => {
    const weights = (observationTargets: StepWeightsOptions["observationTargets"]): number[] => {
      const step = stepWeights({ sequences: ["caoowac", "cawwaow"].map(sequence), observationTargets });
      return [0, 1].flatMap((index) => [...step.sequenceWeights(index).observation]);
    };
    const [observations, warnings, all] = [weights("observations"), weights("warnings"), weights("all")];
    expect(all).toEqual(observations.map((weight, t) => weight + warnings[t]));
    const [six, eight] = [0.05 / 6, 0.05 / 8];
    expect(all.filter((weight) => weight > 0)).toEqual([six, six, six, eight, eight, eight, eight]);
  });

  it("limited by maxObservationTokens begin anew with every answer and leave |O| whole", () => {
    const step = stepWeights({
      sequences: [sequence("cawoowoaoowwwaw")],
      observationTargets: "all",
      maxObservationTokens: 2,
      lambda: 1,
    });
    const weights = [...step.sequenceWeights(0).observation].map((weight) => weight * 11);
    expect(weights).toEqual([0, 0, 1, 1, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 1]);
    expect([step.counts.observationTokens, step.counts.droppedObservationTokens]).toEqual([5, 6]);
  });

  it("are given to observationWeight in runs, and what it drops does not use up the limit", () => {
    const seen: unknown[] = [];
    const step = stepWeights({
      sequences: [sequence("cawwoowaow")],
      observationTargets: "warnings",
      maxObservationTokens: 1,
      lambda: 1,
      observationWeight: (segment) => {
        seen.push(segment);
        return segment.start === 2 ? 0 : 2;
      },
    });
    expect(seen).toEqual([
      { sequenceIndex: 0, start: 2, end: 4 },
      { sequenceIndex: 0, start: 6, end: 7 },
      { sequenceIndex: 0, start: 9, end: 10 },
    ]);
    const weights = [...step.sequenceWeights(0).observation].map((weight) => weight * 7);
    expect(weights).toEqual([0, 0, 0, 0, 0, 0, 2, 0, 0, 2]);
  });
});
