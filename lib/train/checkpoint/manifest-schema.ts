import { z } from "zod";

/** manifest.json of a checkpoint: written last, so a checkpoint without a valid one was never finished. */
export const manifestSchema = z.strictObject({
  schema: z.literal(1),
  step: z.int().min(0),
  files: z
    .array(
      z.strictObject({
        /** Relative to the checkpoint, with forward slashes. */
        path: z.string().regex(/^(?!.*\.\.)[^/\\][^\\]*$/),
        bytes: z.int().min(0),
        sha256: z.string().regex(/^[0-9a-f]{64}$/),
      }),
    )
    .min(1),
});

export type Manifest = z.output<typeof manifestSchema>;
