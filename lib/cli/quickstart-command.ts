import type { Command } from "commander";
import type { ExitStatus } from "./exit-status.js";
import type { QuickstartOptions } from "./run-quickstart-command.js";

/** `echo-grpo quickstart`: GRPO and ECHO from one starting policy, side by side. */
export function addQuickstartCommand(program: Command, status: ExitStatus): void {
  program
    .command("quickstart")
    .description("Train GRPO and ECHO on TinyTerm from the shipped starting policy and print the comparison.")
    .option("--out <directory>", "where both runs go; default: the first free runs/quickstart-N")
    .option("--seed <n>", "seed of both arms", "1")
    .option("--steps <n>", "training steps of each arm", "40")
    .option("--json", "print the comparison as one JSON object")
    .action(async (options: QuickstartOptions) => {
      const { runQuickstartCommand } = await import("./run-quickstart-command.js");
      status.code = await runQuickstartCommand(options);
    });
}
