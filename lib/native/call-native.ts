import { ArgumentError } from "../errors/argument-error.js";
import { NativeError } from "../errors/native-error.js";

/**
 * Calls into the addon and gives its failures this package's classes: `ERR_NATIVE_STATUS` (no memory) becomes a NativeError, a refused
 * argument an ArgumentError.
 */
export function callNative<T>(where: string, call: () => T): T {
  try {
    return call();
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (typeof code !== "string" || !code.startsWith("ERR_")) throw cause;
    const Kind = code === "ERR_NATIVE_STATUS" ? NativeError : ArgumentError;
    throw new Kind(code, `[${where}] ${message}`, { cause });
  }
}
