import { join } from "node:path";
import type { ReferenceModel } from "../model/reference-model.js";
import type { TrainConfig } from "./config/train-config.js";
import type { TrainParts } from "./train-parts.js";

/**
 * The weights that a run with a KL penalty started from. They stay in the run's directory, since its first checkpoint is dropped in time and
 * `model.path` may change.
 *
 * @param path the run's directory.
 * @param run `starts`: they are those of `parts.model`, and are written; `resumes`: they are there.
 * @returns undefined without a KL penalty.
 * @throws whatever writing or reading them throws.
 */
export async function openReference(
  path: string,
  config: TrainConfig,
  parts: TrainParts,
  run: "starts" | "resumes",
): Promise<ReferenceModel | undefined> {
  if (config.klCoefficient === 0) return undefined;
  const directory = join(path, "reference");
  if (run === "starts") await parts.model.save(directory);
  return parts.openReference?.(directory);
}
