import { cpus } from "node:os";
import { resolvePaths } from "./config/resolve-paths.js";
import type { TrainConfig } from "./config/train-config.js";
import { gitCommit } from "./git-commit.js";
import { openParts } from "./open-parts.js";
import { openReference } from "./open-reference.js";
import type { PartsOpener } from "./parts-opener.js";
import { prepareRun } from "./prepare-run.js";
import { readBuildInfo } from "./read-build-info.js";
import { RunDirectory } from "./run-directory.js";
import type { TrainingRun } from "./training-run.js";

/**
 * Begins a run: opens model, tasks and sandboxes, checks that they fit the configuration, and makes the run directory.
 *
 * @param options.openParts opens other parts than the configuration names, for example a model of another framework.
 * @throws ConfigError ERR_RUN_EXISTS when the directory has anything in it, ERR_CONFIG when model, tasks and limits do not fit;
 *   whatever loading the model throws.
 */
export async function startRun(
  given: TrainConfig,
  options: { onProblem(message: string): void; openParts?: PartsOpener },
): Promise<TrainingRun> {
  const config = resolvePaths(given);
  await RunDirectory.refuseExisting(config.out);
  const build = await readBuildInfo();
  const parts = await (options.openParts ?? openParts)(config);
  try {
    const prepared = await prepareRun(config, parts, options);
    const directory = await RunDirectory.create(config.out, {
      config,
      build,
      commit: (await gitCommit(process.cwd())) ?? null,
      machine: { cpu: cpus()[0]?.model ?? "unknown", cores: cpus().length },
      startedAt: new Date().toISOString(),
    });
    try {
      const reference = await openReference(directory.path, config, parts, "starts");
      const begun = { step: 0, optimizerSteps: 0, resumed: false, exact: true };
      return { ...prepared, reference, directory, build, ...begun };
    } catch (error) {
      await directory.close();
      throw error;
    }
  } catch (error) {
    await parts.dispose();
    throw error;
  }
}
