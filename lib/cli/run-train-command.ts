import { ConfigError } from "../errors/config-error.js";
import { Progress } from "../report/progress.js";
import { closeRun } from "../train/close-run.js";
import { describeConfig } from "../train/config/describe-config.js";
import { readConfig } from "../train/config/read-config.js";
import type { TrainConfig } from "../train/config/train-config.js";
import { resumeRun } from "../train/resume-run.js";
import { startRun } from "../train/start-run.js";
import { StopRequest } from "../train/stop-request.js";
import { train } from "../train/trainer.js";
import type { TrainingRun } from "../train/training-run.js";

export interface TrainCommandOptions {
  resume?: string;
  out?: string;
  seed?: string;
  model?: string;
  dryRun?: boolean;
  quiet?: boolean;
}

/** @returns the exit status: 0 finished, 130 or 143 stopped and saved. */
export async function runTrainCommand(
  path: string | undefined,
  options: TrainCommandOptions,
): Promise<number> {
  const notes = (message: string): void => {
    process.stderr.write(`${message}\n`);
  };
  if ((path === undefined) === (options.resume === undefined))
    throw new ConfigError(
      "ERR_CONFIG",
      `[train] expected a configuration file or --resume <run>, got ${path === undefined ? "neither" : "both"}. A resumed run keeps its own configuration.`,
    );
  if (
    options.resume !== undefined &&
    [options.out, options.seed, options.model, options.dryRun].some((flag) => flag !== undefined)
  )
    throw new ConfigError(
      "ERR_CONFIG",
      "[train] --resume takes no --out, --seed, --model or --dry-run: a resumed run keeps its own configuration. Leave them out.",
    );
  let config: TrainConfig | undefined;
  if (path !== undefined) {
    config = override(await readConfig(path), options);
    if (options.dryRun) {
      process.stdout.write(`${JSON.stringify(config, null, 2)}\n`);
      notes(describeConfig(config));
      return 0;
    }
  }

  let progress: Progress | undefined;
  const stop = new StopRequest((signal) => {
    const text = `${signal}: finishing the step and saving a checkpoint. Once more stops at once.`;
    if (progress) progress.note(text);
    else notes(text);
  });
  stop.listen();
  let run: TrainingRun | undefined;
  try {
    run = config
      ? await startRun(config, { onProblem: notes })
      : await resumeRun(options.resume ?? "", { onNote: notes });
    if (run.resumed && run.step >= run.steps) {
      notes(`${run.directory.path} is finished: step ${run.step} of ${run.steps}. Nothing to do.`);
      return 0;
    }
    progress = new Progress({ steps: run.steps, quiet: options.quiet });
    if (run.resumed) progress.note(`resuming ${run.directory.path} after step ${run.step} of ${run.steps}`);
    const outcome = await train(run, { progress, shouldStop: () => stop.signal !== undefined });
    progress.end();
    if (outcome === "finished") return 0;
    notes(
      `stopped after step ${run.step} of ${run.steps}; continue with: echo-grpo train --resume ${run.directory.path}`,
    );
    return StopRequest.exitCode(stop.signal ?? "SIGINT");
  } finally {
    progress?.end();
    if (run) await closeRun(run);
    stop.unlisten();
  }
}

function override(config: TrainConfig, options: TrainCommandOptions): TrainConfig {
  const changed = { ...config };
  if (options.out !== undefined) changed.out = options.out;
  if (options.model !== undefined) changed.model = { path: options.model };
  if (options.seed !== undefined) {
    if (!/^\d{1,15}$/.test(options.seed))
      throw new ConfigError("ERR_CONFIG", `[train] --seed: expected an integer >= 0, got "${options.seed}".`);
    changed.seed = Number(options.seed);
  }
  return changed;
}
