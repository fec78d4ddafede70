/** Widens 16-bit floats, given as their bits, into `into` (same length). Exact: every F16 and BF16 value is a float32. */
export function halfToFloat32(bits: Uint16Array, dtype: "F16" | "BF16", into: Float32Array): void {
  const words = new Uint32Array(into.buffer, into.byteOffset, into.length);
  if (dtype === "BF16") for (let i = 0; i < bits.length; i++) words[i] = bits[i] << 16;
  else for (let i = 0; i < bits.length; i++) words[i] = widenF16(bits[i]);
}

function widenF16(half: number): number {
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
