import { ArgumentError } from "../errors/argument-error.js";
import { callNative } from "../native/call-native.js";
import { loadOrFallBack } from "../native/load-or-fall-back.js";
import type { NativeAddon } from "../native/native-addon.js";
import type { NativeDone } from "../native/native-async.js";
import { nativeFailure } from "../native/native-failure.js";
import { queueFallback } from "./queue-fallback.js";

/** One call in its two forms. Neither may read the caller's arrays later. */
export interface AsyncCall<Results extends unknown[]> {
  /** Queues it in the addon and returns its ticket. */
  native(addon: NativeAddon, done: NativeDone<Results>): number;
  /** Checks what is left to check and returns the computation. */
  fallback(): () => Results;
}

/**
 * Queues a call, to be taken back by `signal` for as long as it has not begun.
 *
 * @throws what the call refuses, before anything is queued; the reason of a signal that is already aborted; ArgumentError ERR_INVALID_TYPE for
 *   what is no signal.
 */
export async function asyncCall<Results extends unknown[]>(
  where: string,
  signal: AbortSignal | undefined,
  call: AsyncCall<Results>,
): Promise<Results> {
  if (signal !== undefined && !((signal as unknown) instanceof AbortSignal))
    throw new ArgumentError(
      "ERR_INVALID_TYPE",
      `[${where}] signal is unusable: expected an AbortSignal, got ${typeof signal}.`,
    );
  signal?.throwIfAborted();
  const addon = loadOrFallBack();
  let abort = (): void => undefined;
  try {
    return await new Promise<Results>((resolve, reject) => {
      let takeBack: () => boolean;
      if (addon === undefined) {
        const compute = call.fallback();
        takeBack = queueFallback(() => {
          try {
            resolve(compute());
          } catch (error) {
            reject(error as Error);
          }
        });
      } else {
        const done: NativeDone<Results> = (code, ...rest) =>
          code === null
            ? resolve(rest as Results)
            : reject(nativeFailure(where, code, (rest as [string])[0]));
        const ticket = callNative(where, () => call.native(addon, done));
        takeBack = () => addon.takeBack(ticket);
      }
      abort = () => {
        if (takeBack()) reject(signal?.reason as Error);
      };
      signal?.addEventListener("abort", abort, { once: true });
    });
  } finally {
    signal?.removeEventListener("abort", abort);
  }
}
