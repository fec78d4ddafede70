import { ArgumentError } from "../errors/argument-error.js";
import { callNative } from "../native/call-native.js";
import { loadOrFallBack } from "../native/load-or-fall-back.js";
import { fallbackOptim } from "./fallback-optim.js";

export interface ClipResult {
  /** Euclidean norm over all gradients; NaN or infinite when an entry is. */
  gradNorm: number;
  /** min(1, maxGradNorm / (gradNorm + 1e-6)), as torch.nn.utils.clip_grad_norm_; 0 when the norm is not finite. */
  clipFactor: number;
}

/**
 * The global norm of some gradients, float32 or the bits of bfloat16 numbers (float64, fixed order: the same on any number of threads) and the factor that brings it down to
 * `maxGradNorm`. Nothing is written: `AdamW` applies the factor as it reads the gradients.
 *
 * @param maxGradNorm above 0; infinity never clips.
 * @throws ArgumentError ERR_OUT_OF_RANGE, ERR_INVALID_TYPE, ERR_INVALID_DTYPE, ERR_DETACHED, ERR_UNSUPPORTED.
 */
export function clipGradients(
  grads: readonly (Float32Array | Uint16Array)[],
  maxGradNorm: number,
): ClipResult {
  if (!(maxGradNorm > 0))
    throw new ArgumentError(
      "ERR_OUT_OF_RANGE",
      `[clipGradients] maxGradNorm is unusable: expected a number above 0, got ${String(maxGradNorm)}.`,
    );
  const gradNorm = callNative("clipGradients", () => (loadOrFallBack() ?? fallbackOptim).gradNorm(grads));
  if (!Number.isFinite(gradNorm)) return { gradNorm, clipFactor: 0 };
  return { gradNorm, clipFactor: Math.min(1, maxGradNorm / (gradNorm + 1e-6)) };
}
