import type { LossTotals } from "./loss-totals.js";

const SUMS = [
  "policyLoss",
  "observationLoss",
  "actionTokens",
  "observationTokens",
  "observationNllSum",
  "actionNllSum",
  "ratioSum",
  "clippedLow",
  "clippedHigh",
  "nonfiniteRows",
] as const;

/**
 * Totals of an optimiser step from those of its micro-batches, added in the given order. `observationNllAtOneSum` is present when every
 * part has it.
 */
export function mergeLossTotals(parts: readonly LossTotals[]): LossTotals {
  const merged: LossTotals = {
    policyLoss: 0,
    observationLoss: 0,
    actionTokens: 0,
    observationTokens: 0,
    observationNllSum: 0,
    actionNllSum: 0,
    ratioSum: 0,
    ratioMax: 0,
    clippedLow: 0,
    clippedHigh: 0,
    nonfiniteRows: 0,
  };
  let atOne: number | undefined = parts.length > 0 ? 0 : undefined;
  for (const part of parts) {
    for (const field of SUMS) merged[field] += part[field];
    merged.ratioMax = Math.max(merged.ratioMax, part.ratioMax);
    if (part.observationNllAtOneSum === undefined) atOne = undefined;
    else if (atOne !== undefined) atOne += part.observationNllAtOneSum;
  }
  if (atOne !== undefined) merged.observationNllAtOneSum = atOne;
  return merged;
}
