import type { Metrics } from "../report/metrics.js";
import type { Trajectory } from "../rollout/trajectory.js";
import type { ObservationFilter } from "./config/observation-filter-config.js";

/** What a filter left. */
export interface FilteredObservations {
  /** Rollouts whose observations are not to be learned. */
  dropped: ReadonlySet<Trajectory>;
  /** The `filter/` keys of a step (docs/metrics.md); empty when no filter is on. */
  metrics: Metrics;
}

const NO_TURNS = "filter/dropped_no_turns";
const REFUSALS = "filter/dropped_refusals";
const FORMAT_WARNINGS = "filter/dropped_format_warnings";
const INCORRECT = "filter/dropped_incorrect";

const isCorrect = ({ reward }: Trajectory): boolean => reward !== null && reward >= 0.5;

/**
 * The released filters of the observation term. A rollout is dropped for one reason, the first that holds: it has no turns, too many
 * of its actions were refused, or refused or untidy, or it is incorrect and its group has too few correct ones beside it.
 *
 * @param groups the rollouts of each task that count in N, ordered by rollout: of the incorrect ones the first are kept.
 */
export function filterObservations(
  groups: readonly (readonly Trajectory[])[],
  filter: ObservationFilter,
): FilteredObservations {
  const { minValidActions, minCleanActions, minCorrect = 0 } = filter;
  if (minValidActions === undefined && minCleanActions === undefined && minCorrect === 0)
    return { dropped: new Set(), metrics: {} };
  const reasons = new Map<Trajectory, string>();
  for (const group of groups) {
    for (const rollout of group) {
      const { turns, refusals, formatWarnings } = rollout;
      if (turns === 0) reasons.set(rollout, NO_TURNS);
      else if ((turns - refusals) / turns < (minValidActions ?? 0)) reasons.set(rollout, REFUSALS);
      else if ((turns - refusals - formatWarnings) / turns < (minCleanActions ?? 0))
        reasons.set(rollout, FORMAT_WARNINGS);
    }
    if (minCorrect === 0) continue;
    const survivors = group.filter((rollout) => !reasons.has(rollout));
    const correct = survivors.filter(isCorrect).length;
    let incorrect = 0;
    for (const rollout of survivors) {
      if (isCorrect(rollout)) continue;
      // The released floor(correct · (1 - θ) / θ) without its rounding: as many as leave a share of θ correct.
      if (correct / (correct + incorrect + 1) >= minCorrect) incorrect++;
      else reasons.set(rollout, INCORRECT);
    }
  }

  const all = groups.flat();
  const kept = all.filter((rollout) => !reasons.has(rollout));
  const metrics: Metrics = { "filter/total": all.length, "filter/kept": kept.length };
  metrics["filter/kept_correct"] = kept.filter(isCorrect).length;
  for (const reason of [NO_TURNS, REFUSALS, FORMAT_WARNINGS, INCORRECT])
    metrics[reason] = [...reasons.values()].filter((each) => each === reason).length;
  metrics["filter/empty_groups"] = groups.filter((group) => group.every((each) => reasons.has(each))).length;
  return { dropped: new Set(reasons.keys()), metrics };
}
