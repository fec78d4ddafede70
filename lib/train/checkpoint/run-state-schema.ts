import { z } from "zod";
import { buildInfoSchema } from "../build-info-schema.js";

/** state.json of a checkpoint: what, beside weights and moments, the next step depends on. */
export const runStateSchema = z.strictObject({
  schema: z.literal(1),
  /** Training steps done. */
  step: z.int().min(0),
  /** Optimiser steps done, skipped ones included: the place in the learning-rate schedule. */
  optimizerSteps: z.int().min(0),
  /** AdamW's own counts. */
  optimizer: z.strictObject({ stepCount: z.int().min(0), skippedSteps: z.int().min(0) }),
  policyVersion: z.int().min(0),
  /** Bytes of the append-only files when the checkpoint was taken; resume cuts them back to these. */
  files: z.record(z.string(), z.int().min(0)),
  /** SHA-256 of the trajectory files the run reads. */
  inputs: z.record(z.string(), z.string()),
  /** False once a run was resumed on another build, tier or Node. */
  exact: z.boolean(),
  build: buildInfoSchema,
});

export type RunState = z.output<typeof runStateSchema>;
