import type { BuildInfo } from "./build-info-schema.js";

/** What differs between two builds, as `what: old, now new`; empty when a resume is exact. */
export function buildDifferences(recorded: BuildInfo, now: BuildInfo): string[] {
  return (Object.keys(now) as (keyof BuildInfo)[])
    .filter((key) => recorded[key] !== now[key])
    .map((key) => `${key}: ${recorded[key].slice(0, 12)}, now ${now[key].slice(0, 12)}`);
}
