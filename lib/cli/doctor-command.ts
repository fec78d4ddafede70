import type { Command } from "commander";
import type { ExitStatus } from "./exit-status.js";

/** `echo-grpo doctor`: what this machine offers. */
export function addDoctorCommand(program: Command, status: ExitStatus): void {
  program
    .command("doctor")
    .description("Say what works here: Node, native addon, CUDA, bash, sandbox, disk.")
    .action(async () => {
      const { runDoctorCommand } = await import("./run-doctor-command.js");
      status.code = await runDoctorCommand();
    });
}
