import { ArgumentError } from "../errors/argument-error.js";
import type { RolloutLimits } from "./rollout-limits.js";

const LONGEST_TIMER_MS = 2 ** 31 - 1;

const DEFAULTS: Required<RolloutLimits> = {
  maxTurns: Number.MAX_SAFE_INTEGER,
  maxTokens: Number.MAX_SAFE_INTEGER,
  timeoutMs: 120_000,
  setupTimeoutMs: 60_000,
  verifyTimeoutMs: 60_000,
  disposeTimeoutMs: 10_000,
};

/**
 * Fills in defaults.
 * @throws ArgumentError ERR_OUT_OF_RANGE when a limit is not a positive integer, or a time is longer than a timer can hold.
 */
export function resolveLimits(limits: RolloutLimits = {}): Required<RolloutLimits> {
  const resolved = { ...DEFAULTS };
  for (const name of Object.keys(DEFAULTS) as (keyof RolloutLimits)[]) {
    const value = limits[name] ?? DEFAULTS[name];
    const most = name.endsWith("Ms") ? LONGEST_TIMER_MS : Number.MAX_SAFE_INTEGER;
    if (!Number.isSafeInteger(value) || value < 1 || value > most)
      throw new ArgumentError(
        "ERR_OUT_OF_RANGE",
        `[rollout] limits.${name} is unusable: expected an integer from 1 to ${most}, got ${value}. Leave it out for the default.`,
      );
    resolved[name] = value;
  }
  return resolved;
}
