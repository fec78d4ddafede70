import { z } from "zod";
import type { Trajectory } from "./trajectory.js";

const EXCLUDED = new Set(["sandbox_error", "policy_error", "harness_error", "verifier_error", "cancelled"]);

const count = z.int().nonnegative();

/**
 * Schema 1 did not tell refusals from notices such as cut output and had no format warnings: its warnings count as refusals, which is
 * as many as there can have been.
 */
function upgrade(value: unknown): unknown {
  if (typeof value !== "object" || value === null || !("schema" in value) || value.schema !== 1) return value;
  if ("refusals" in value || "formatWarnings" in value) return value;
  return { ...value, schema: 2, refusals: "warnings" in value ? value.warnings : 0, formatWarnings: 0 };
}

const current: z.ZodType<Trajectory> = z
  .strictObject({
    schema: z.literal(2),
    taskId: z.string().min(1).max(1_000),
    task: count,
    rollout: count,
    author: z.enum(["policy", "script"]),
    policyVersion: count,
    ids: z.array(z.int().min(0).max(0x7fffffff)),
    roles: z.string().regex(/^[caow]*$/, "expected only the letters c, a, o and w"),
    logprobs: z.array(z.number()),
    temperature: z.number().nonnegative(),
    turns: count,
    reward: z.number().nullable(),
    stopReason: z.enum([
      "submitted",
      "max_turns",
      "max_tokens",
      "rollout_timeout",
      "sandbox_error",
      "policy_error",
      "harness_error",
      "verifier_error",
      "cancelled",
    ]),
    error: z.strictObject({ code: z.string().min(1), message: z.string() }).optional(),
    exact: z.boolean(),
    warnings: count,
    refusals: count,
    formatWarnings: count,
  })
  .superRefine((trajectory, context) => {
    const refuse = (field: keyof Trajectory, message: string): void =>
      context.addIssue({ code: "custom", path: [field], message });
    const { ids, roles, logprobs, author, temperature, turns, reward, stopReason, error } = trajectory;
    if (roles.length !== ids.length)
      refuse("roles", `expected ${ids.length} letters, one per id, got ${roles.length}`);
    const actions = author === "policy" ? roles.split("a").length - 1 : 0;
    if (logprobs.length !== actions)
      refuse(
        "logprobs",
        `expected ${actions} values for a ${author}'s ${actions} sampled tokens, got ${logprobs.length}`,
      );
    if (temperature > 0 !== (author === "policy"))
      refuse(
        "temperature",
        `expected ${author === "policy" ? "> 0" : "0"} for a ${author}, got ${temperature}`,
      );
    const excluded = EXCLUDED.has(stopReason);
    if ((reward === null) !== excluded)
      refuse("reward", `expected ${excluded ? "null" : "a number"} after ${stopReason}, got ${reward}`);
    if (stopReason !== "cancelled" && (error !== undefined) !== excluded)
      refuse("error", `expected ${excluded ? "an error" : "none"} after ${stopReason}`);
    const faulty = trajectory.refusals + trajectory.formatWarnings;
    if (faulty > turns)
      refuse("refusals", `expected, with formatWarnings, at most the ${turns} turns, got ${faulty}`);
  });

/**
 * A line of a trajectory file. Unknown keys are refused, and so is a record that contradicts itself. A line of schema 1 is read as one
 * of schema 2, with `formatWarnings` 0 and `refusals` equal to its `warnings`.
 */
export const trajectorySchema: z.ZodType<Trajectory> = z.preprocess(upgrade, current);
