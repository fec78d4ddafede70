import { rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { listCheckpoints } from "./list-checkpoints.js";

/**
 * Deletes all but the newest `keep` checkpoints; call only after the newest was verified. A doomed one is renamed first, so that a
 * deletion cut short leaves no half-empty `step-N`.
 */
export async function pruneCheckpoints(directory: string, keep: number): Promise<void> {
  const steps = await listCheckpoints(directory);
  for (const step of steps.slice(0, Math.max(0, steps.length - keep))) {
    const doomed = join(directory, `step-${step}.tmp`);
    await rm(doomed, { recursive: true, force: true });
    await rename(join(directory, `step-${step}`), doomed);
    await rm(doomed, { recursive: true, force: true });
  }
}
