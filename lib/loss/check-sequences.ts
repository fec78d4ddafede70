import { ArgumentError } from "../errors/argument-error.js";

/**
 * Sequence boundaries that cover `rows` rows: from 0, ascending, to `rows`.
 * @throws ArgumentError ERR_INVALID_TYPE when there are none, ERR_OUT_OF_RANGE when they do not.
 */
export function checkSequences(
  where: string,
  cuSeqLens: ArrayLike<number> | undefined,
  rows: number,
): ArrayLike<number> {
  if (cuSeqLens === undefined)
    throw new ArgumentError(
      "ERR_INVALID_TYPE",
      `[${where}] cuSeqLens are missing: expected the boundaries of the sequences, Int32Array [n + 1], got undefined. An option of whole sequences needs them.`,
    );
  const last = cuSeqLens.length - 1;
  let fits = last >= 0 && cuSeqLens[0] === 0 && cuSeqLens[last] === rows;
  for (let i = 0; i < last; i++) fits &&= cuSeqLens[i] <= cuSeqLens[i + 1];
  if (!fits)
    throw new ArgumentError(
      "ERR_OUT_OF_RANGE",
      `[${where}] cuSeqLens do not cover the rows: expected ascending boundaries from 0 to ${rows}, got ${cuSeqLens[0]} to ${cuSeqLens[last]} in ${cuSeqLens.length} entries.`,
    );
  return cuSeqLens;
}
