import { ArgumentError } from "../errors/argument-error.js";
import type { FloatDtype } from "../floats/float-dtype.js";

/**
 * The array of the host that holds numbers of a dtype. Detached and resizable memory the addon refuses.
 * @throws ArgumentError ERR_INVALID_TYPE, ERR_INVALID_DTYPE, ERR_INVALID_SHAPE.
 */
export function checkHostArray(
  where: string,
  values: unknown,
  dtype: FloatDtype,
  length: number,
): Float32Array | Uint16Array {
  const kind = dtype === "float32" ? Float32Array : Uint16Array;
  if (!ArrayBuffer.isView(values))
    throw new ArgumentError(
      "ERR_INVALID_TYPE",
      `[${where}] the values are unusable: expected ${kind.name}, got ${values === null ? "null" : typeof values}.`,
    );
  if (!(values instanceof kind))
    throw new ArgumentError(
      "ERR_INVALID_DTYPE",
      `[${where}] the values have the wrong element type: expected ${kind.name} for ${dtype}, got ${values.constructor.name}. 16-bit numbers come as their bits.`,
    );
  if (values.length !== length && values.length > 0)
    throw new ArgumentError(
      "ERR_INVALID_SHAPE",
      `[${where}] the values have the wrong length: expected ${length}, got ${values.length}.`,
    );
  return values;
}
