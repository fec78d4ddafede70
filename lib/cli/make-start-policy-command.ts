import type { Command } from "commander";

/** `echo-grpo make-start-policy`: makes the shipped starting policy of TinyTerm anew. */
export function addMakeStartPolicyCommand(program: Command): void {
  program
    .command("make-start-policy")
    .description("Make TinyTerm's starting policy from nothing (about ten minutes).")
    .requiredOption("--out <directory>", "where the model goes; replaced if it is there")
    .requiredOption("--work <directory>", "new directory for documents and runs")
    .action(async (options: { out: string; work: string }) => {
      const { makeStartPolicy } = await import("../train/make-start-policy.js");
      await makeStartPolicy({
        ...options,
        note: (message) => {
          process.stderr.write(`${message}\n`);
        },
      });
    });
}
