import { ArgumentError } from "../errors/argument-error.js";
import type { PackedSequences } from "../loss/packed-sequences.js";

/**
 * Refuses packed sequences a decoder could not run: wrong types, boundaries that do not cover the ids exactly, an empty or too long
 * sequence, an id outside the vocabulary.
 * @throws ArgumentError ERR_INVALID_DTYPE, ERR_INVALID_SHAPE, ERR_OUT_OF_RANGE.
 */
export function checkPacked(
  packed: PackedSequences,
  limits: { vocabSize: number; maxPositions: number },
  where: string,
): void {
  const { ids, cuSeqLens } = packed;
  for (const [name, value] of Object.entries({ ids, cuSeqLens }))
    if (!(value instanceof Int32Array))
      throw new ArgumentError(
        "ERR_INVALID_DTYPE",
        `[${where}] ${name} has the wrong type: expected Int32Array, got ${typeName(value)}. Convert it.`,
      );
  const shape = (problem: string): never => {
    throw new ArgumentError("ERR_INVALID_SHAPE", `[${where}] ${problem}. Pass [0, end of each sequence].`);
  };
  if (cuSeqLens.length < 2 || cuSeqLens[0] !== 0)
    shape(
      `cuSeqLens is not a list of boundaries: expected at least [0, T], got [${cuSeqLens.subarray(0, 4)}]`,
    );
  for (let i = 1; i < cuSeqLens.length; i++) {
    const length = cuSeqLens[i] - cuSeqLens[i - 1];
    if (length < 1) shape(`sequence ${i - 1} is empty: expected at least 1 token, got ${length}`);
    if (length > limits.maxPositions)
      throw new ArgumentError(
        "ERR_OUT_OF_RANGE",
        `[${where}] sequence ${i - 1} is too long: expected at most ${limits.maxPositions} tokens, got ${length}. Shorten it or build the model with more positions.`,
      );
  }
  const total = cuSeqLens[cuSeqLens.length - 1];
  if (total !== ids.length) shape(`cuSeqLens ends at ${total}: expected ${ids.length}, the number of ids`);
  for (let t = 0; t < ids.length; t++)
    if (ids[t] < 0 || ids[t] >= limits.vocabSize)
      throw new ArgumentError(
        "ERR_OUT_OF_RANGE",
        `[${where}] ids[${t}] is not a token: expected 0 to ${limits.vocabSize - 1}, got ${ids[t]}. Use the model's own tokenizer.`,
      );
}

function typeName(value: unknown): string {
  return value === null || typeof value !== "object" ? String(value) : (value.constructor?.name ?? "object");
}
