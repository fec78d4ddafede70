import { ArgumentError } from "../errors/argument-error.js";
import type { FloatDtype } from "../floats/float-dtype.js";

const BYTES: Record<FloatDtype, number> = { float32: 4, bfloat16: 2, float16: 2 };

/** Bytes of an element. @throws ArgumentError ERR_INVALID_DTYPE. */
export function dtypeBytes(where: string, dtype: FloatDtype): number {
  if (Object.hasOwn(BYTES, dtype)) return BYTES[dtype];
  throw new ArgumentError(
    "ERR_INVALID_DTYPE",
    `[${where}] the dtype is unusable: expected "float32", "bfloat16" or "float16", got ${String(dtype)}.`,
  );
}
