import { ArgumentError } from "../errors/argument-error.js";
import { checkRows } from "./check-rows.js";

/** A block of logits: T rows of `vocabSize` values, `ld` elements apart. */
export interface LogitsBlock {
  /** Logits, [T, ld] float32. */
  logits: Float32Array;
  /** V; default: logits.length / T. */
  vocabSize?: number;
  /** Row stride in elements, at least V; default V. Columns from V on are ignored when read and written as 0. */
  ld?: number;
}

const LARGEST_VOCABULARY = 2 ** 31 - 1;

function checkInteger(where: string, name: string, value: number, low: number): void {
  if (!Number.isInteger(value) || value < low || value > LARGEST_VOCABULARY)
    throw new ArgumentError(
      typeof value === "number" ? "ERR_OUT_OF_RANGE" : "ERR_INVALID_TYPE",
      `[${where}] ${name} is unusable: expected a whole number from ${low} to ${LARGEST_VOCABULARY}, got ${String(value)}.`,
    );
}

/**
 * @returns V and the row stride of `block` for `rows` rows.
 * @throws ArgumentError as `checkRows`; ERR_OUT_OF_RANGE for vocabSize or ld; ERR_INVALID_SHAPE when they do not fit the length.
 */
export function checkLogits(where: string, block: LogitsBlock, rows: number): { vocab: number; ld: number } {
  const logits = checkRows(where, "logits", block.logits, Float32Array, undefined, "[T, ld]");
  const inferred = rows > 0 ? logits.length / rows : 1;
  const ld = block.ld ?? block.vocabSize ?? inferred;
  const vocab = block.vocabSize ?? ld;
  if (block.ld === undefined && block.vocabSize === undefined && (!Number.isInteger(ld) || ld < 1))
    throw new ArgumentError(
      "ERR_INVALID_SHAPE",
      `[${where}] logits do not divide into rows: expected a multiple of ${rows} rows, got ${logits.length} values. Pass vocabSize, and one target per row.`,
    );
  checkInteger(where, "vocabSize", vocab, 1);
  checkInteger(where, "ld", ld, vocab);
  if (logits.length !== rows * ld)
    throw new ArgumentError(
      "ERR_INVALID_SHAPE",
      `[${where}] logits have the wrong length: expected ${rows * ld} = ${rows} rows x ${ld}, got ${logits.length}.`,
    );
  return { vocab, ld };
}
