import { z } from "zod";

/** What ends a rollout. Turns and tokens are counts and reproducible; `timeoutMs` is a wall clock and is not. */
export const limitsConfigSchema = z.strictObject({
  maxTurns: z
    .int()
    .positive()
    .optional()
    .describe("Most turns of a rollout. Default: the task's own limit, which this can only lower."),
  maxTokens: z
    .int()
    .positive()
    .optional()
    .describe("Most tokens of a rollout, context included. Default: the longest sequence of the policy."),
  timeoutMs: z
    .int()
    .positive()
    .max(2 ** 31 - 1)
    .default(120_000)
    .describe("Wall-clock limit of a rollout; one that meets it scores 0 and marks the step inexact."),
});
