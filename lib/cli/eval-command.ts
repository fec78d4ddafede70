import type { Command } from "commander";
import type { EvalCommandOptions } from "./run-eval-command.js";

/** `echo-grpo eval`: success and observation nll of a model directory or checkpoint. */
export function addEvalCommand(program: Command): void {
  program
    .command("eval")
    .description("Measure a model or checkpoint on held-out tasks.")
    .argument(
      "<model>",
      "model directory, a run's checkpoint (checkpoints/step-N), or a run (its newest checkpoint)",
    )
    .option("--family <name>", "task family", "tinyterm")
    .option("--split <split>", "train, val or ood", "val")
    .option("--tasks <n>", "tasks for the success rate; 0: not measured", "256")
    .option("--samples <n>", "rollouts per task", "1")
    .option("--temperature <t>", "sampling temperature", "1")
    .option(
      "--expert-tasks <n>",
      "tasks of the scripted expert for the observation nll; 0: not measured",
      "256",
    )
    .option(
      "--trajectories <file>",
      "JSONL of trajectories for the observation nll, in place of the expert's",
    )
    .option("--concurrency <n>", "rollouts at once", "64")
    .option("--seed <n>", "seed of the rollouts", "0")
    .option("--json", "print one JSON object")
    .action(async (model: string, options: EvalCommandOptions) => {
      const { runEvalCommand } = await import("./run-eval-command.js");
      await runEvalCommand(model, options);
    });
}
