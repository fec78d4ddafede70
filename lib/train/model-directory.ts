import { existsSync } from "node:fs";
import { join } from "node:path";
import { newestCheckpoint } from "./checkpoint/newest-checkpoint.js";
import { verifyCheckpoint } from "./checkpoint/verify-checkpoint.js";

/**
 * The Hugging Face directory a path stands for: itself, that of a checkpoint (which is verified first), or that of a run's newest valid
 * checkpoint.
 *
 * @throws CheckpointError ERR_CHECKPOINT_CORRUPT, ERR_CHECKPOINT_MISSING.
 */
export async function modelDirectory(path: string): Promise<string> {
  if (existsSync(join(path, "config.json")) && existsSync(join(path, "checkpoints")))
    return join((await newestCheckpoint(join(path, "checkpoints"))).path, "model");
  if (!existsSync(join(path, "manifest.json")) || !existsSync(join(path, "model"))) return path;
  await verifyCheckpoint(path.replace(/\/+$/, ""));
  return join(path, "model");
}
