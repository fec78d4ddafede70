import type { MissingPeer } from "./missing-peer.js";

/** Notes that name what was not measured, one for each reason. */
export function renderMissing(missing: readonly MissingPeer[]): string[] {
  const names = new Map<string, Set<string>>();
  for (const { name, why } of missing) names.set(why, (names.get(why) ?? new Set()).add(name));
  return [...names].map(([why, those]) => `Not measured: ${[...those].join("; ")}. Reason: ${why}.`);
}
