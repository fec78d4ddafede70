import { ArgumentError } from "../errors/argument-error.js";

const LARGEST_VOCABULARY = 2 ** 31 - 1;

/** The first token of a shard of `vocab` tokens. @throws ArgumentError ERR_OUT_OF_RANGE, ERR_INVALID_TYPE. */
export function checkVocabStart(where: string, vocabStart: number, vocab: number): number {
  const last = LARGEST_VOCABULARY - vocab;
  if (Number.isInteger(vocabStart) && vocabStart >= 0 && vocabStart <= last) return vocabStart;
  throw new ArgumentError(
    typeof vocabStart === "number" ? "ERR_OUT_OF_RANGE" : "ERR_INVALID_TYPE",
    `[${where}] vocabStart is unusable: expected a whole number from 0 to ${last}, got ${String(vocabStart)}.`,
  );
}
