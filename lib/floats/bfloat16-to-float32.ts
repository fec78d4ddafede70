import { checkFits } from "./check-fits.js";

/**
 * Widens bfloat16 numbers, given as their bits. Exact.
 *
 * @param into same length; default: a new array.
 * @throws ArgumentError ERR_INVALID_SHAPE when the lengths differ.
 */
export function bfloat16ToFloat32(
  bits: Uint16Array,
  into: Float32Array = new Float32Array(bits.length),
): Float32Array {
  checkFits("bfloat16ToFloat32", bits, into);
  const words = new Uint32Array(into.buffer, into.byteOffset, into.length);
  for (let i = 0; i < bits.length; i++) words[i] = bits[i] << 16;
  return into;
}
