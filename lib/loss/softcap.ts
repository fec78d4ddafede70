/** c · tanh(x / c); without a cap, and where x is infinite or NaN, x. */
export function softcap(x: number, cap: number | false): number {
  return cap === false || !Number.isFinite(x) ? x : cap * Math.tanh(x / cap);
}
