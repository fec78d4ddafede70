import { ArgumentError } from "../errors/argument-error.js";
import type { EchoGrpoError } from "../errors/echo-grpo-error.js";
import { NativeError } from "../errors/native-error.js";

/**
 * What the addon reports, in this package's classes: `ERR_NATIVE_STATUS` (no memory) and what CUDA failed with a NativeError, a refused argument
 * an ArgumentError.
 */
export function nativeFailure(
  where: string,
  code: string,
  message: string,
  options?: ErrorOptions,
): EchoGrpoError {
  const native = code === "ERR_NATIVE_STATUS" || code.startsWith("ERR_CUDA");
  // What the library does not do keeps the code it has everywhere.
  const stable = code.replace(/^ERR_CUDA_(?=UNSUPPORTED$)/, "ERR_");
  return new (native ? NativeError : ArgumentError)(stable, `[${where}] ${message}`, options);
}
