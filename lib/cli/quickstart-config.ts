import { join } from "node:path";
import { packageRoot } from "../native/package-root.js";
import { parseConfig } from "../train/config/parse-config.js";
import type { TrainConfig } from "../train/config/train-config.js";

/** The two arms of the quickstart: the same starting policy, tasks, seeds and budget; only `algorithm` differs. */
export function quickstartConfig(
  algorithm: "grpo" | "echo",
  options: { out: string; seed: number; steps: number },
): TrainConfig {
  const { out, seed, steps } = options;
  return parseConfig(
    {
      algorithm,
      out,
      seed,
      steps,
      model: { path: join(packageRoot(), "assets", "tinyterm", "start") },
      tasks: { family: "tinyterm", split: "train" },
      concurrency: 128,
      checkpointEvery: 10,
      eval: { every: 5, tasks: 256, expertTasks: 256 },
    },
    "quickstart",
  );
}
