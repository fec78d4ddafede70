import { join } from "node:path";
import { CheckpointError } from "../../errors/checkpoint-error.js";
import { listCheckpoints } from "./list-checkpoints.js";
import { verifyCheckpoint } from "./verify-checkpoint.js";

/** A checkpoint that could not be used. */
export interface SkippedCheckpoint {
  path: string;
  reason: string;
}

/**
 * The newest checkpoint whose every file is as its manifest says, and the newer ones that are not.
 * @throws CheckpointError ERR_CHECKPOINT_MISSING when there is none.
 */
export async function newestCheckpoint(
  directory: string,
): Promise<{ path: string; step: number; skipped: SkippedCheckpoint[] }> {
  const skipped: SkippedCheckpoint[] = [];
  const steps = await listCheckpoints(directory);
  for (const step of steps.reverse()) {
    const path = join(directory, `step-${step}`);
    try {
      await verifyCheckpoint(path);
      return { path, step, skipped };
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw error;
      skipped.push({ path, reason: error.message });
    }
  }
  const tried = skipped.map((checkpoint) => `\n  ${checkpoint.reason}`).join("");
  throw new CheckpointError(
    "ERR_CHECKPOINT_MISSING",
    `[checkpoint] nothing to resume in ${directory}: expected a directory step-N with a valid manifest, got ${skipped.length === 0 ? "none" : `${skipped.length} unusable`}. Start a new run in another directory.${tried}`,
  );
}
