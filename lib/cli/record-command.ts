import type { Command } from "commander";
import type { ExitStatus } from "./exit-status.js";
import type { RecordCommandOptions } from "./run-record-command.js";

/** `echo-grpo record`: trajectories of a scripted agent, to imitate or to measure on. */
export function addRecordCommand(program: Command, status: ExitStatus): void {
  program
    .command("record")
    .description("Record a scripted agent's trajectories: demonstrations for sft, or held-out text.")
    .requiredOption("--out <file>", "JSONL file to write; must not exist")
    .option("--family <name>", "task family", "tinyterm")
    .option("--split <split>", "train, val or ood", "train")
    .option("--agent <agent>", "expert, or random (valid commands without a plan)", "expert")
    .option("--tasks <n>", "the first so many tasks of the split", "500")
    .option("--concurrency <n>", "rollouts at once", "64")
    .option("--seed <n>", "seed of the random agent", "0")
    .option("--solved-only", "keep only the trajectories that solve their task")
    .action(async (options: RecordCommandOptions) => {
      const { runRecordCommand } = await import("./run-record-command.js");
      status.code = await runRecordCommand(options);
    });
}
