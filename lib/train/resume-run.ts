import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { CheckpointError } from "../errors/checkpoint-error.js";
import { buildDifferences } from "./build-differences.js";
import { newestCheckpoint } from "./checkpoint/newest-checkpoint.js";
import { removeUnfinished } from "./checkpoint/remove-unfinished.js";
import { type RunState, runStateSchema } from "./checkpoint/run-state-schema.js";
import { setAsideCheckpoint } from "./checkpoint/set-aside-checkpoint.js";
import { openParts } from "./open-parts.js";
import { openReference } from "./open-reference.js";
import { OptimizerFile } from "./optimizer-file.js";
import type { PartsOpener } from "./parts-opener.js";
import { prepareRun } from "./prepare-run.js";
import { readBuildInfo } from "./read-build-info.js";
import { restoreRun } from "./restore-run.js";
import { RunDirectory } from "./run-directory.js";
import type { TrainingRun } from "./training-run.js";

/**
 * Takes a run up again at its newest valid checkpoint. What was written after it is removed and will be written again, to the same bytes
 * when machine, package, addon, tier and Node are the same.
 *
 * @param options.onNote told what a person should know: skipped checkpoints, removed leftovers, lost exactness.
 * @param options.openParts the one the run was started with; it must take its weights from the directory it is given.
 * @throws CheckpointError ERR_CHECKPOINT_MISSING when there is no usable one, ERR_CHECKPOINT_MISMATCH when other files lost their end;
 *   ConfigError ERR_RUN_EXISTS when another process trains the run.
 */
export async function resumeRun(
  path: string,
  options: { onNote(message: string): void; openParts?: PartsOpener },
): Promise<TrainingRun> {
  const config = { ...(await RunDirectory.readConfig(path)), out: path };
  const build = await readBuildInfo();
  const checkpoints = join(path, "checkpoints");
  const { directory, restored } = await RunDirectory.reopen(path, async () => {
    for (const name of await removeUnfinished(checkpoints))
      options.onNote(`removed ${join(checkpoints, name)}, which was never finished`);
    const newest = await newestCheckpoint(checkpoints);
    for (const skipped of newest.skipped) {
      const aside = await setAsideCheckpoint(skipped.path);
      options.onNote(`skipped a checkpoint, now ${aside}: ${skipped.reason}`);
    }
    const state = await readState(join(newest.path, "state.json"));
    await restoreRun(path, state);
    return { checkpoint: newest.path, state };
  });
  try {
    const { checkpoint, state } = restored;
    const differences = buildDifferences(state.build, build);
    if (differences.length > 0)
      options.onNote(
        `exactness is lost, the checkpoint was written by another build (${differences.join("; ")})`,
      );
    const parts = await (options.openParts ?? openParts)(config, {
      modelDirectory: join(checkpoint, "model"),
      policyVersion: state.policyVersion,
    });
    try {
      const prepared = await prepareRun(config, parts, { onProblem: options.onNote });
      const changed = Object.keys(prepared.inputs).filter(
        (name) => prepared.inputs[name] !== state.inputs[name],
      );
      if (changed.length > 0)
        options.onNote(`exactness is lost, the run now reads other data: ${changed.join(", ")} changed`);
      await OptimizerFile.load(
        join(checkpoint, "optimizer.safetensors"),
        prepared.optimizer,
        parts.model.parameters(),
        state.optimizer,
      );
      return {
        ...prepared,
        reference: await openReference(path, config, parts, "resumes"),
        directory,
        build,
        step: state.step,
        optimizerSteps: state.optimizerSteps,
        resumed: true,
        exact: state.exact && differences.length === 0 && changed.length === 0,
      };
    } catch (error) {
      await parts.dispose();
      throw error;
    }
  } catch (error) {
    await directory.close();
    throw error;
  }
}

async function readState(path: string): Promise<RunState> {
  const result = runStateSchema.safeParse(JSON.parse(await readFile(path, "utf8")));
  if (result.success) return result.data;
  throw new CheckpointError(
    "ERR_CHECKPOINT_MISMATCH",
    `[resume] ${path} was written by another version: ${result.error.issues[0].message}. Resume with the version that wrote it.`,
  );
}
