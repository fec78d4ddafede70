import { checkFits } from "./check-fits.js";

/**
 * Widens float16 numbers, given as their bits. Exact.
 *
 * @param into same length; default: a new array.
 * @throws ArgumentError ERR_INVALID_SHAPE when the lengths differ.
 */
export function float16ToFloat32(
  bits: Uint16Array,
  into: Float32Array = new Float32Array(bits.length),
): Float32Array {
  checkFits("float16ToFloat32", bits, into);
  const words = new Uint32Array(into.buffer, into.byteOffset, into.length);
  for (let i = 0; i < bits.length; i++) words[i] = widen(bits[i]);
  return into;
}

function widen(half: number): number {
  const sign = (half & 0x8000) << 16;
  let exponent = (half >>> 10) & 0x1f;
  let mantissa = half & 0x3ff;
  if (exponent === 0x1f) return sign | 0x7f800000 | (mantissa << 13);
  if (exponent === 0) {
    if (mantissa === 0) return sign;
    // Subnormal: shift until the leading one is the implicit bit.
    exponent = 1;
    while ((mantissa & 0x400) === 0) {
      mantissa <<= 1;
      exponent--;
    }
    mantissa &= 0x3ff;
  }
  return sign | ((exponent + 112) << 23) | (mantissa << 13);
}
