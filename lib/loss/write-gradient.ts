import { float32ToBfloat16 } from "../floats/float32-to-bfloat16.js";
import { float32ToFloat16 } from "../floats/float32-to-float16.js";
import type { LogitsDtype } from "./check-logits.js";

const SMALLEST_NORMAL_BFLOAT16 = 2 ** -126;

/** A row of a gradient as bits, rounded as the kernels round: a bfloat16 below the smallest normal number becomes 0 of its sign. */
function toBits(row: Float32Array, dtype: LogitsDtype): Uint16Array {
  if (dtype === "float16") return float32ToFloat16(row);
  return float32ToBfloat16(row.map((x) => (Math.abs(x) < SMALLEST_NORMAL_BFLOAT16 ? 0 * x : x)));
}

/**
 * Writes the gradient of row t in place of its logits, zeros into the columns from V on. bfloat16 over float32 logits: the row begins at the first byte
 * of its logits, and its second half is left as it is.
 *
 * @param gradient [V].
 * @param logits [T, ld].
 */
export function writeGradient(
  gradient: Float64Array,
  logits: Float32Array | Uint16Array,
  t: number,
  { gradientDtype, ld }: { ld: number; gradientDtype: LogitsDtype },
): void {
  const vocab = gradient.length;
  const narrowed = logits instanceof Float32Array && gradientDtype !== "float32";
  const out = narrowed ? new Uint16Array(logits.buffer, logits.byteOffset, 2 * logits.length) : logits;
  const stride = narrowed ? 2 * ld : ld;
  // Processors give the NaN of an undefined operation either sign; the kernels write one.
  const row = Float32Array.from(gradient, (x) => (Number.isNaN(x) ? Number.NaN : x));
  out.set(gradientDtype === "float32" ? row : toBits(row, gradientDtype), t * stride);
  out.fill(0, t * stride + vocab, t * stride + ld);
}
