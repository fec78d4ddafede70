/** A name about which something is known but not its place. */
export interface RestrictedName {
  /** The places where it is known not to be. */
  excluded: ReadonlySet<number>;
  /** True: it is somewhere. False: it may be nowhere. */
  present: boolean;
}

/** n (n - 1) ... (n - k + 1): ordered choices of k out of n. */
export function fallingFactorial(n: number, k: number): number {
  let product = 1;
  for (let i = 0; i < k; i++) product *= n - i;
  return product;
}

/**
 * In how many ways can names be given to open slots, one each, no name twice?
 * @param slots open slots of each place.
 * @param restricted names that may not be everywhere or must be somewhere.
 * @param free number of names about which nothing is known.
 */
export function placeNames(
  slots: readonly number[],
  restricted: readonly RestrictedName[],
  free: number,
): number {
  const memo = new Map<string, number>();
  const place = (index: number, open: readonly number[]): number => {
    if (index === restricted.length)
      return fallingFactorial(
        free,
        open.reduce((sum, n) => sum + n, 0),
      );
    const key = `${index}:${open.join()}`;
    const known = memo.get(key);
    if (known !== undefined) return known;
    const { excluded, present } = restricted[index];
    let ways = present ? 0 : place(index + 1, open);
    for (const [at, n] of open.entries())
      if (n > 0 && !excluded.has(at)) ways += n * place(index + 1, open.with(at, n - 1));
    memo.set(key, ways);
    return ways;
  };
  return place(0, slots);
}
