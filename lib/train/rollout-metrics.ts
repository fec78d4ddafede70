import type { Metrics } from "../report/metrics.js";
import type { Trajectory } from "../rollout/trajectory.js";

/** The `reward/` and `rollout/` keys of a step (docs/metrics.md). */
export function rolloutMetrics(groups: readonly (readonly Trajectory[])[]): Metrics {
  const all = groups.flat();
  const rewards = groups.map((group) => group.map((each) => each.reward).filter((reward) => reward !== null));
  const flat = rewards.flat();
  const metrics: Metrics = {};
  if (flat.length > 0) {
    const mean = flat.reduce((sum, reward) => sum + reward, 0) / flat.length;
    const squares = flat.reduce((sum, reward) => sum + (reward - mean) ** 2, 0);
    metrics["reward/mean"] = mean;
    metrics["reward/std"] = flat.length > 1 ? Math.sqrt(squares / (flat.length - 1)) : 0;
  }
  metrics["reward/zero_variance_groups"] = rewards.filter(
    (group) => group.length < 2 || group.every((reward) => reward === group[0]),
  ).length;
  const mean = (value: (trajectory: Trajectory) => number): number =>
    all.reduce((sum, each) => sum + value(each), 0) / all.length;
  metrics["rollout/turns"] = mean((each) => each.turns);
  metrics["rollout/warnings"] = mean((each) => each.warnings);
  metrics["rollout/refusals"] = mean((each) => each.refusals);
  metrics["rollout/format_warnings"] = mean((each) => each.formatWarnings);
  metrics["rollout/excluded"] = all.filter((each) => each.reward === null).length;
  const reasons = [...new Set(all.map((each) => each.stopReason))].sort();
  for (const reason of reasons)
    metrics[`rollout/stop/${reason}`] = all.filter((each) => each.stopReason === reason).length;
  return metrics;
}
