import { ArgumentError } from "../errors/argument-error.js";

/**
 * Results into the array the caller gave for them; into none without one.
 * @throws ArgumentError ERR_DETACHED when it was transferred away since the call.
 */
export function writeRows(
  where: string,
  name: string,
  values: Float32Array | null,
  into: Float32Array | null,
): void {
  if (into === null || values === null) return;
  if (into.length !== values.length)
    throw new ArgumentError(
      "ERR_DETACHED",
      `[${where}] ${name} has lost its memory: expected Float32Array [T] until the call is over, got an array whose buffer was transferred.`,
    );
  into.set(values);
}
