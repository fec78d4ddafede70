/** |got - expected| / |expected|, Euclidean. */
export function relativeError(got: ArrayLike<number>, expected: ArrayLike<number>): number {
  let [error, scale] = [0, 0];
  for (let i = 0; i < Math.max(got.length, expected.length); i++) {
    error += (got[i] - expected[i]) ** 2;
    scale += expected[i] ** 2;
  }
  return Math.sqrt(error / scale);
}
