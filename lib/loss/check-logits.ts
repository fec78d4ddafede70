import { ArgumentError } from "../errors/argument-error.js";
import { checkRows } from "./check-rows.js";

/** How numbers of a block are stored. */
export type LogitsDtype = "float32" | "bfloat16" | "float16";

/** A block of logits: T rows of `vocabSize` values, `ld` elements apart. */
export interface LogitsBlock {
  /** Logits, [T, ld]: float32, or the bits of 16-bit numbers. */
  logits: Float32Array | Uint16Array;
  /** What a Uint16Array holds; required with one. */
  dtype?: LogitsDtype;
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

function checkDtype(where: string, { dtype, logits }: LogitsBlock): LogitsDtype {
  const bits = (logits as unknown) instanceof Uint16Array;
  const got = dtype ?? "float32";
  if (bits ? got === "bfloat16" || got === "float16" : got === "float32") return got;
  throw new ArgumentError(
    "ERR_INVALID_DTYPE",
    bits
      ? `[${where}] logits are 16-bit numbers of unknown kind: expected dtype "bfloat16" or "float16", got ${String(dtype)}. Name it.`
      : `[${where}] dtype ${String(dtype)} does not fit the logits: expected "float32" with a Float32Array; 16-bit numbers come as a Uint16Array of their bits.`,
  );
}

/**
 * @returns V, the row stride and the type of `block` for `rows` rows.
 * @throws ArgumentError as `checkRows`; ERR_OUT_OF_RANGE for vocabSize or ld; ERR_INVALID_SHAPE when they do not fit the length.
 */
export function checkLogits(
  where: string,
  block: LogitsBlock,
  rows: number,
): { vocab: number; ld: number; dtype: LogitsDtype } {
  const { logits } = block;
  const kind = (logits as unknown) instanceof Uint16Array ? Uint16Array : Float32Array;
  checkRows<Float32Array | Uint16Array>(where, "logits", logits, kind, undefined, "[T, ld]");
  const dtype = checkDtype(where, block);
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
  return { vocab, ld, dtype };
}
