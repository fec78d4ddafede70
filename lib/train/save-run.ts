import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pruneCheckpoints } from "./checkpoint/prune-checkpoints.js";
import type { RunState } from "./checkpoint/run-state-schema.js";
import { saveCheckpoint } from "./checkpoint/save-checkpoint.js";
import { OptimizerFile } from "./optimizer-file.js";
import type { TrainingRun } from "./training-run.js";

/**
 * Saves a checkpoint of the run as it stands and then drops the oldest beyond `keepCheckpoints`.
 * @throws WriteError ERR_WRITE; earlier checkpoints are untouched then.
 */
export async function saveRun(run: TrainingRun): Promise<string> {
  const { config, directory, optimizer, parts } = run;
  const state: RunState = {
    schema: 1,
    step: run.step,
    optimizerSteps: run.optimizerSteps,
    optimizer: { stepCount: optimizer.stepCount, skippedSteps: optimizer.skippedSteps },
    policyVersion: parts.policy.version,
    files: await directory.sync(),
    inputs: run.inputs,
    exact: run.exact,
    build: run.build,
  };
  const path = await saveCheckpoint({
    directory: directory.checkpoints,
    step: run.step,
    write: async (target) => {
      await parts.model.save(join(target, "model"));
      await OptimizerFile.save(join(target, "optimizer.safetensors"), optimizer, parts.model.parameters());
      await writeFile(join(target, "state.json"), `${JSON.stringify(state, null, 2)}\n`);
    },
  });
  await pruneCheckpoints(directory.checkpoints, config.keepCheckpoints);
  return path;
}
