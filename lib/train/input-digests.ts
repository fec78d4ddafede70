import { hashFile } from "./checkpoint/hash-file.js";
import type { TrainConfig } from "./config/train-config.js";

/** SHA-256 of the trajectory files a run reads, by path: a resumed run must read the same. */
export async function inputDigests(config: TrainConfig): Promise<Record<string, string>> {
  const paths = [...(config.sft?.data ?? [])];
  const { every, expertTrajectories } = config.eval;
  if (every > 0 && expertTrajectories !== undefined) paths.push(expertTrajectories);
  const digests: Record<string, string> = {};
  for (const path of paths) digests[path] = (await hashFile(path)).sha256;
  return digests;
}
