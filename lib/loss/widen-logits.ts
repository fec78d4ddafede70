import { bfloat16ToFloat32 } from "../floats/bfloat16-to-float32.js";
import { float16ToFloat32 } from "../floats/float16-to-float32.js";
import type { LogitsDtype } from "./check-logits.js";

/** Logits of any dtype as float32, exactly; float32 ones are returned as they are, without a copy. */
export function widenLogits(logits: Float32Array | Uint16Array, dtype: LogitsDtype): Float32Array {
  if (logits instanceof Float32Array) return logits;
  return dtype === "bfloat16" ? bfloat16ToFloat32(logits) : float16ToFloat32(logits);
}
