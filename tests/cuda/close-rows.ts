import type { LogitsDtype } from "../../lib/loss/check-logits.js";
import type { LossTotals } from "../../lib/loss/loss-totals.js";
import { fromBits } from "../loss/half-precision.js";

/** Half a step of the storage, twice: two results may be rounded to either side. */
const STEP: Record<LogitsDtype, number> = { float32: 1e-6, bfloat16: 2 ** -7, float16: 2 ** -10 };
/** Of the largest entry of the row: what sums in another order differ by. */
const SUMS = 4e-6;

export const wide = (values: Float32Array | Uint16Array, dtype: LogitsDtype): Float32Array =>
  values instanceof Float32Array ? values : fromBits(dtype as "bfloat16" | "float16", values);

/** The first entry in which two [T, ld] gradients differ by more than rounding; undefined: none. */
export function gradientDifference(
  actual: Float32Array,
  expected: Float32Array,
  ld: number,
  dtype: LogitsDtype,
): string | undefined {
  if (actual.length !== expected.length) return `length ${actual.length}, expected ${expected.length}`;
  for (let start = 0; start < expected.length; start += ld) {
    const row = expected.subarray(start, start + ld);
    const largest = row.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    const smallest = dtype === "float16" ? 2 ** -24 : 2 ** -126;
    for (const [j, x] of row.entries()) {
      const y = actual[start + j];
      const allowed = STEP[dtype] * Math.abs(x) + SUMS * largest + smallest;
      if (Number.isNaN(x) ? !Number.isNaN(y) : !(Math.abs(x - y) <= allowed))
        return `row ${start / ld}, column ${j}: ${y}, expected ${x} ± ${allowed}`;
    }
  }
  return undefined;
}

/** The first log-probability that differs by more than the promised 2e-6 + 2e-7 |lp|; undefined: none. */
export function logprobDifference(actual: Float32Array, expected: Float32Array): string | undefined {
  for (const [t, x] of expected.entries()) {
    const y = actual[t];
    if (Object.is(x, y) || x === y) continue;
    if (!(Math.abs(x - y) <= 2e-6 + 2e-7 * Math.abs(x))) return `row ${t}: ${y}, expected ${x}`;
  }
  return actual.length === expected.length ? undefined : `length ${actual.length}`;
}

/** Fields of the totals that differ: counts must be equal, sums as close as their terms. */
export function totalsDifference(actual: LossTotals, expected: LossTotals): string[] {
  const keys = new Set([...Object.keys(actual), ...Object.keys(expected)]) as Set<keyof LossTotals>;
  return [...keys].filter((key) => {
    const [x, y] = [expected[key], actual[key]];
    if (x === undefined || y === undefined) return x !== y;
    if (Number.isInteger(x) && /Tokens|clipped|Rows/.test(key)) return x !== y;
    return !(Math.abs(x - y) <= 1e-5 + 2e-5 * Math.abs(x));
  });
}
