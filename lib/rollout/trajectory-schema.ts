import { z } from "zod";
import type { Trajectory } from "./trajectory.js";

const EXCLUDED = new Set(["sandbox_error", "policy_error", "harness_error", "verifier_error", "cancelled"]);

const count = z.int().nonnegative();

/** A line of a trajectory file. Unknown keys are refused, and so is a record that contradicts itself. */
export const trajectorySchema: z.ZodType<Trajectory> = z
  .strictObject({
    schema: z.literal(1),
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
  })
  .superRefine((trajectory, context) => {
    const refuse = (field: keyof Trajectory, message: string): void =>
      context.addIssue({ code: "custom", path: [field], message });
    const { ids, roles, logprobs, author, temperature, reward, stopReason, error } = trajectory;
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
  });
