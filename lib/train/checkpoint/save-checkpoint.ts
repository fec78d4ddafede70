import { mkdir, rename, rm, statfs, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { EchoGrpoError } from "../../errors/echo-grpo-error.js";
import { WriteError } from "../../errors/write-error.js";
import { crashPoint } from "../crash-point.js";
import { hashFile } from "./hash-file.js";
import { listFiles } from "./list-files.js";
import type { Manifest } from "./manifest-schema.js";
import { syncPath } from "./sync-path.js";
import { verifyCheckpoint } from "./verify-checkpoint.js";

export interface SaveCheckpointOptions {
  /** The run's `checkpoints` directory. */
  directory: string;
  step: number;
  /** Writes everything but the manifest into the (empty) directory it is given. */
  write(directory: string): Promise<void>;
}

/**
 * Saves `step-N` so that, whatever dies when, a reader finds either no `step-N` or a whole one: written to `step-N.tmp`, files synced,
 * manifest written and synced, renamed, parent synced, read back.
 *
 * @returns the checkpoint's path.
 * @throws WriteError ERR_WRITE; what was written is removed and earlier checkpoints are untouched.
 */
export async function saveCheckpoint(options: SaveCheckpointOptions): Promise<string> {
  const { directory, step } = options;
  const final = join(directory, `step-${step}`);
  const temporary = `${final}.tmp`;
  try {
    await rm(temporary, { recursive: true, force: true });
    await mkdir(temporary, { recursive: true });
    await options.write(temporary);
    crashPoint("checkpoint-files", step);
    const manifest: Manifest = { schema: 1, step, files: [] };
    const { files, directories } = await listFiles(temporary);
    for (const path of files) {
      await syncPath(join(temporary, path));
      manifest.files.push({ path, ...(await hashFile(join(temporary, path))) });
    }
    await writeFile(join(temporary, "manifest.json"), `${JSON.stringify(manifest, null, 2)}\n`);
    await syncPath(join(temporary, "manifest.json"));
    for (const path of directories) await syncPath(join(temporary, path));
    await syncPath(temporary);
    crashPoint("checkpoint-before-rename", step);
    await rename(temporary, final);
    crashPoint("checkpoint-after-rename", step);
    await syncPath(directory);
    await verifyCheckpoint(final);
  } catch (cause) {
    await rm(temporary, { recursive: true, force: true }).catch(() => undefined);
    if (cause instanceof EchoGrpoError) throw cause;
    const free = await statfs(directory).then(
      (disk) => `${disk.bavail * disk.bsize} bytes free`,
      () => "unknown free space",
    );
    throw new WriteError(
      "ERR_WRITE",
      `[checkpoint] cannot write ${final}: ${(cause as Error).message} (${free}). Earlier checkpoints are intact; make room and resume the run.`,
      { cause },
    );
  }
  return final;
}
