import { DeviceTensor } from "../cuda/device-tensor.js";
import { ArgumentError } from "../errors/argument-error.js";
import type { FloatDtype } from "../floats/float-dtype.js";
import { checkRows } from "./check-rows.js";
import type { ComputeDevice } from "./compute-device.js";

/** How numbers of a block are stored. */
export type LogitsDtype = FloatDtype;

/** A block of logits: T rows of `vocabSize` values, `ld` elements apart. */
export interface LogitsBlock {
  /** Logits, [T, ld]: float32, the bits of 16-bit numbers, or a tensor on a GPU. */
  logits: Float32Array | Uint16Array | DeviceTensor<LogitsDtype>;
  /** What a Uint16Array holds; required with one. That of a tensor is its own. */
  dtype?: LogitsDtype;
  /** V; default: logits.length / T. */
  vocabSize?: number;
  /** Row stride in elements, at least V; default V, of a tensor its last size. Columns from V on are ignored when read and written as 0. */
  ld?: number;
  /** Where to compute. Default: where the logits are. */
  device?: ComputeDevice;
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
  if (logits instanceof DeviceTensor) return checkTensorDtype(where, dtype, logits);
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

/** The dtype of a tensor that was made with one. @throws ArgumentError ERR_INVALID_DTYPE when another is named. */
export function checkTensorDtype(
  where: string,
  dtype: LogitsDtype | undefined,
  tensor: { readonly dtype: LogitsDtype },
): LogitsDtype {
  if (dtype === undefined || dtype === tensor.dtype) return tensor.dtype;
  throw new ArgumentError(
    "ERR_INVALID_DTYPE",
    `[${where}] dtype ${String(dtype)} does not fit the logits: expected "${tensor.dtype}", as the tensor was made, or none.`,
  );
}

/**
 * @returns V, the row stride and the type of `block` for `rows` rows.
 * @throws ArgumentError as `checkRows`; ERR_DISPOSED; ERR_OUT_OF_RANGE for vocabSize or ld; ERR_INVALID_SHAPE when they do not fit the length.
 */
export function checkLogits(
  where: string,
  block: LogitsBlock,
  rows: number,
): { vocab: number; ld: number; dtype: LogitsDtype } {
  const { logits } = block;
  const kind = (logits as unknown) instanceof Uint16Array ? Uint16Array : Float32Array;
  if (logits instanceof DeviceTensor) logits.memory(where);
  else checkRows<Float32Array | Uint16Array>(where, "logits", logits, kind, undefined, "[T, ld]");
  const dtype = checkDtype(where, block);
  const inferred = rows > 0 ? logits.length / rows : 1;
  const last = logits instanceof DeviceTensor ? logits.shape.at(-1) : undefined;
  const ld = block.ld ?? last ?? block.vocabSize ?? inferred;
  const vocab = block.vocabSize ?? ld;
  if (
    block.ld === undefined &&
    block.vocabSize === undefined &&
    last === undefined &&
    (!Number.isInteger(ld) || ld < 1)
  )
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
