import { z } from "zod";

/** What a bit-exact resume needs to be the same. */
export const buildInfoSchema = z.strictObject({
  /** Version of this package. */
  version: z.string(),
  /** Version of Node. */
  node: z.string(),
  /** `linux-x64` and the like. */
  platform: z.string(),
  /** Instruction-set tier of the native kernels. */
  isa: z.string(),
  /** SHA-256 of the native addon. */
  addon: z.string(),
});

export type BuildInfo = z.output<typeof buildInfoSchema>;
