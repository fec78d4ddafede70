import type { TrainingRun } from "./training-run.js";

/** Ends a run's policy and sandboxes and gives its directory back. */
export async function closeRun(run: TrainingRun): Promise<void> {
  try {
    await run.parts.dispose();
  } finally {
    await run.directory.close();
  }
}
