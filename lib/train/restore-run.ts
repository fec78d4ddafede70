import { readdir, rm, stat, truncate } from "node:fs/promises";
import { join } from "node:path";
import { CheckpointError } from "../errors/checkpoint-error.js";
import type { RunState } from "./checkpoint/run-state-schema.js";
import { syncPath } from "./checkpoint/sync-path.js";
import { crashPoint } from "./crash-point.js";

/**
 * Takes the files of a run back to what they were when a checkpoint was taken: cuts metrics and timings to the recorded lengths and
 * removes the trajectories of later steps. May be cut short and repeated.
 *
 * @throws CheckpointError ERR_CHECKPOINT_MISMATCH when a file is shorter than recorded; nothing is changed then.
 */
export async function restoreRun(path: string, state: RunState): Promise<void> {
  for (const [name, bytes] of Object.entries(state.files)) {
    const got = await stat(join(path, name)).then(
      (file) => file.size,
      () => 0,
    );
    if (got < bytes)
      throw new CheckpointError(
        "ERR_CHECKPOINT_MISMATCH",
        `[resume] ${join(path, name)} lost its end: expected at least the ${bytes} bytes of checkpoint step-${state.step}, got ${got}. Put the file back, or start a new run from that checkpoint's model.`,
      );
  }
  crashPoint("resume-before-truncate", state.step);
  for (const [name, bytes] of Object.entries(state.files)) {
    const file = join(path, name);
    // A file that does not exist was checked above to have 0 bytes on record.
    await truncate(file, bytes).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT") throw error;
    });
    crashPoint("resume-mid-truncate", state.step);
  }
  const trajectories = join(path, "trajectories");
  for (const name of await readdir(trajectories)) {
    const step = /^step-([0-9]+)\.jsonl$/.exec(name)?.[1];
    if (step !== undefined && Number(step) > state.step) await rm(join(trajectories, name));
  }
  await syncPath(trajectories);
}
