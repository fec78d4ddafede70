import type { Command } from "commander";
import type { ExitStatus } from "./exit-status.js";

interface TrainFlags {
  resume?: string;
  out?: string;
  seed?: string;
  model?: string;
  dryRun?: boolean;
  quiet?: boolean;
}

/** `echo-grpo train`: starts a run from a configuration, or takes one up again. */
export function addTrainCommand(program: Command, status: ExitStatus): void {
  program
    .command("train")
    .description("Train from a configuration file, or resume a run.")
    .argument("[config]", "configuration (JSON; schemas/config.schema.json describes every key)")
    .option("--resume <run>", "continue the run in this directory from its newest valid checkpoint")
    .option("--out <directory>", "run directory, in place of the configuration's `out`")
    .option("--seed <n>", "seed, in place of the configuration's `seed`")
    .option("--model <path>", "weights to start from, in place of the configuration's `model`")
    .option("--dry-run", "print the resolved configuration and what it implies, then stop")
    .option("--quiet", "print no progress")
    .addHelpText(
      "after",
      "\nCtrl-C once finishes the step and saves a checkpoint; twice stops at once. Either way --resume goes on from there.",
    )
    .action(async (config: string | undefined, flags: TrainFlags) => {
      const { runTrainCommand } = await import("./run-train-command.js");
      status.code = await runTrainCommand(config, flags);
    });
}
