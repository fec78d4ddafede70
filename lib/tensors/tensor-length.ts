import { ArgumentError } from "../errors/argument-error.js";

/** Elements of a tensor of this shape. @throws ArgumentError ERR_INVALID_SHAPE, also for more than `largest` of them. */
export function tensorLength(where: string, shape: readonly number[], largest: number): number {
  const length = Array.isArray(shape) ? shape.reduce((product: number, size) => product * size, 1) : 0;
  const whole = Array.isArray(shape) && shape.every((size) => Number.isInteger(size) && size >= 1);
  if (whole && shape.length > 0 && length <= largest) return length;
  throw new ArgumentError(
    "ERR_INVALID_SHAPE",
    `[${where}] the shape is unusable: expected whole numbers from 1 with a product up to ${largest}, got ${JSON.stringify(shape)}.`,
  );
}
