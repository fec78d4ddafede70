import { ArgumentError } from "../errors/argument-error.js";
import type { EchoGrpoError } from "../errors/echo-grpo-error.js";
import { NativeError } from "../errors/native-error.js";

/** What the addon reports, in this package's classes: `ERR_NATIVE_STATUS` (no memory) a NativeError, a refused argument an ArgumentError. */
export function nativeFailure(
  where: string,
  code: string,
  message: string,
  options?: ErrorOptions,
): EchoGrpoError {
  const Kind = code === "ERR_NATIVE_STATUS" ? NativeError : ArgumentError;
  return new Kind(code, `[${where}] ${message}`, options);
}
