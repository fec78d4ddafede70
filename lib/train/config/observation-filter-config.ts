import { z } from "zod";

const share = (): z.ZodOptional<z.ZodNumber> => z.number().min(0).max(1).optional();

/** Which rollouts the observation term learns from. Rollouts without a turn are left out as soon as any of these is set. */
export const observationFilterConfigSchema = z.strictObject({
  minValidActions: share().describe(
    "Least share of a rollout's actions that were not refused; released as `wm_filter_min_valid_tool_call_pct`.",
  ),
  minCleanActions: share().describe(
    "Least share that were neither refused nor warned about for their form; released as `wm_filter_min_parse_clean_pct`.",
  ),
  minCorrect: share().describe(
    "Least share of correct rollouts (reward 0.5 or more) among those kept of a task: all correct ones and as many of the others, in order, as that allows. 0: off; released as `wm_filter_min_correct_pct`.",
  ),
});

/** Shares, 0 to 1; what is absent is off. */
export type ObservationFilter = z.output<typeof observationFilterConfigSchema>;
