import { nativeFailure } from "./native-failure.js";

/** Calls into the addon and gives its failures this package's classes. */
export function callNative<T>(where: string, call: () => T): T {
  try {
    return call();
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (typeof code !== "string" || !code.startsWith("ERR_")) throw cause;
    throw nativeFailure(where, code, message, { cause });
  }
}
