import fc from "fast-check";
import type { TokenSequence } from "../../lib/loss/token-sequence.js";

/** Ragged sequences of every mixture of roles, with the logits that would score them: [L, V] each. */
export function arbitrarySequences(
  vocabSize: number,
): fc.Arbitrary<{ sequence: TokenSequence; logits: Float32Array }[]> {
  const logit = fc.oneof(
    { weight: 8, arbitrary: fc.float({ min: -8, max: 8, noNaN: true }) },
    { weight: 1, arbitrary: fc.constantFrom(0, -30, 30) },
  );
  const one = fc
    .array(fc.constantFrom(0, 1, 1, 2, 2, 3), { minLength: 0, maxLength: 9 })
    .chain((roles) =>
      fc.record({
        roles: fc.constant([0, ...roles]),
        ids: fc.array(fc.nat(vocabSize - 1), { minLength: roles.length + 1, maxLength: roles.length + 1 }),
        advantage: fc.constantFrom(-3.5, -1, 0, 0.25, 1),
        old: fc.array(fc.float({ min: -9, max: 0, noNaN: true }), {
          minLength: roles.length + 1,
          maxLength: roles.length + 1,
        }),
        logits: fc.array(logit, {
          minLength: (roles.length + 1) * vocabSize,
          maxLength: (roles.length + 1) * vocabSize,
        }),
      }),
    )
    .map(({ roles, ids, advantage, old, logits }) => ({
      sequence: {
        ids: Int32Array.from(ids),
        roles: Uint8Array.from(roles),
        advantage,
        oldLogprobs: Float32Array.from(old),
      },
      logits: Float32Array.from(logits),
    }));
  return fc.array(one, { minLength: 1, maxLength: 6 });
}
