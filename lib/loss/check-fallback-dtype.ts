import { ArgumentError } from "../errors/argument-error.js";
import type { LogitsDtype } from "./check-logits.js";

/** What the TypeScript reference can compute on. @throws ArgumentError ERR_UNSUPPORTED for 16-bit numbers. */
export function checkFallbackDtype(
  where: string,
  block: { logits: Float32Array | Uint16Array; gradientDtype?: LogitsDtype },
): Float32Array {
  if (block.logits instanceof Float32Array && (block.gradientDtype ?? "float32") === "float32")
    return block.logits;
  throw new ArgumentError(
    "ERR_UNSUPPORTED",
    `[${where}] 16-bit numbers need the native addon: expected float32 logits and gradient, got others and no addon. Build it with \`npm run build:native\`, or convert.`,
  );
}
