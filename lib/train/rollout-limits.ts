import type { RolloutLimits } from "../rollout/rollout-limits.js";
import type { TrainConfig } from "./config/train-config.js";

/** The limits of a configuration as the rollout pool takes them: what was left out stays the task's and the policy's. */
export function rolloutLimits({ limits }: TrainConfig): RolloutLimits {
  const result: RolloutLimits = { timeoutMs: limits.timeoutMs };
  if (limits.maxTurns !== undefined) result.maxTurns = limits.maxTurns;
  if (limits.maxTokens !== undefined) result.maxTokens = limits.maxTokens;
  return result;
}
