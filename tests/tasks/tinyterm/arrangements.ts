/** Every ordered choice of `count` different items. */
export function* arrangements<T>(pool: readonly T[], count: number): Generator<T[]> {
  if (count === 0) yield [];
  else
    for (const item of pool)
      for (const rest of arrangements(
        pool.filter((other) => other !== item),
        count - 1,
      ))
        yield [item, ...rest];
}
