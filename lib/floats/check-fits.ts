import { ArgumentError } from "../errors/argument-error.js";

/** @throws ArgumentError ERR_INVALID_SHAPE when the place for a result is not of the length of what it is made from. */
export function checkFits(where: string, from: ArrayLike<number>, into: ArrayLike<number>): void {
  if (into.length !== from.length)
    throw new ArgumentError(
      "ERR_INVALID_SHAPE",
      `[${where}] the result does not fit: expected length ${from.length}, got ${into.length}.`,
    );
}
