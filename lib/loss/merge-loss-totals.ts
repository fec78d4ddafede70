import type { LossTotals } from "./loss-totals.js";

const SUMS = [
  "policyLoss",
  "observationLoss",
  "klLoss",
  "entropyLoss",
  "actionTokens",
  "observationTokens",
  "observationNllSum",
  "actionNllSum",
  "surrogateSum",
  "ratioSum",
  "clippedLow",
  "clippedHigh",
  "clippedDual",
  "nonfiniteRows",
] as const;

const OPTIONAL_SUMS = ["observationNllAtOneSum", "klSum", "entropySum"] as const;

/**
 * Totals of an optimiser step from those of its micro-batches, added in the given order. An optional sum is present when every part
 * has it.
 */
export function mergeLossTotals(parts: readonly LossTotals[]): LossTotals {
  const sum = (value: (part: LossTotals) => number): number =>
    parts.reduce((total, part) => total + value(part), 0);
  const merged = {
    ...Object.fromEntries(SUMS.map((field) => [field, sum((part) => part[field])])),
    ratioMax: parts.reduce((most, part) => Math.max(most, part.ratioMax), 0),
  } as LossTotals;
  for (const field of OPTIONAL_SUMS)
    if (parts.length > 0 && parts.every((part) => part[field] !== undefined))
      merged[field] = sum((part) => part[field] ?? 0);
  return merged;
}
