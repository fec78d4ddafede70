import { checkFits } from "./check-fits.js";

const scratch = new Float32Array(1);
const scratchWord = new Uint32Array(scratch.buffer);
const HALF = 0x3f000000; // the bits of 0.5

/**
 * Rounds to float16, as bits: to nearest, ties to even, subnormal numbers included; from 65520 on to infinity; a NaN becomes a quiet NaN of the
 * same sign.
 *
 * @param into same length; default: a new array.
 * @throws ArgumentError ERR_INVALID_SHAPE when the lengths differ.
 */
export function float32ToFloat16(
  values: Float32Array,
  into: Uint16Array = new Uint16Array(values.length),
): Uint16Array {
  checkFits("float32ToFloat16", values, into);
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < words.length; i++) {
    const magnitude = words[i] & 0x7fffffff;
    into[i] = ((words[i] >>> 16) & 0x8000) | narrow(magnitude);
  }
  return into;
}

function narrow(magnitude: number): number {
  if (magnitude > 0x7f800000) return 0x7e00 | ((magnitude >>> 13) & 0x3ff);
  if (magnitude >= 0x477ff000) return 0x7c00;
  // The half below is 0xfff so that a tie carries only into an odd last bit; a carry out of the mantissa is the next exponent.
  if (magnitude >= 0x38800000) return (magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13;
  // Subnormal: the sum with 0.5, rounded to float32, has the rounded multiple of 2^-24 in its low bits.
  scratchWord[0] = magnitude;
  scratch[0] += 0.5;
  return scratchWord[0] - HALF;
}
