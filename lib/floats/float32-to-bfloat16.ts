import { checkFits } from "./check-fits.js";

/**
 * Rounds to bfloat16, as bits: to nearest, ties to even; beyond the largest to infinity; a NaN becomes a quiet NaN of the same sign.
 *
 * @param into same length; default: a new array.
 * @throws ArgumentError ERR_INVALID_SHAPE when the lengths differ.
 */
export function float32ToBfloat16(
  values: Float32Array,
  into: Uint16Array = new Uint16Array(values.length),
): Uint16Array {
  checkFits("float32ToBfloat16", values, into);
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < words.length; i++) {
    const word = words[i];
    const high = word >>> 16;
    const nan = (word & 0x7fffffff) > 0x7f800000;
    // The half below is 0x7fff so that a tie carries only into an odd upper half.
    into[i] = nan ? high | 0x40 : (word + 0x7fff + (high & 1)) >>> 16;
  }
  return into;
}
