/** Two-sided 95 % quantiles of Student's t for 1 to 9 degrees of freedom. */
const T95 = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262];

/** Mean over seeds and half the width of its 95 % t-interval; none with fewer than two values. */
export function meanInterval(values: readonly number[]): { mean: number; half?: number } {
  const n = values.length;
  const mean = values.reduce((sum, value) => sum + value, 0) / n;
  const t = T95[n - 2];
  if (t === undefined) return { mean };
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (n - 1);
  return { mean, half: t * Math.sqrt(variance / n) };
}
