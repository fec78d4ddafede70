import type { Command } from "commander";
import { wholeNumber } from "./whole-number.js";

/** `echo-grpo make-start-policy`: makes the shipped starting policy of TinyTerm anew. */
export function addMakeStartPolicyCommand(program: Command): void {
  program
    .command("make-start-policy")
    .description("Make TinyTerm's starting policy from nothing (about ten minutes).")
    .requiredOption("--out <directory>", "where the model goes; replaced if it is there")
    .requiredOption("--work <directory>", "new directory for documents and runs")
    .option("--hidden-size <n>", "another width than the shipped policy's; a multiple of 64")
    .option("--layers <n>", "another number of layers than the shipped policy's")
    .action(async (options: { out: string; work: string; hiddenSize?: string; layers?: string }) => {
      const size = {
        ...(options.hiddenSize !== undefined && {
          hiddenSize: wholeNumber("make-start-policy", "--hidden-size", options.hiddenSize, 1),
        }),
        ...(options.layers !== undefined && {
          layers: wholeNumber("make-start-policy", "--layers", options.layers, 1),
        }),
      };
      const { makeStartPolicy } = await import("../train/make-start-policy.js");
      await makeStartPolicy({
        out: options.out,
        work: options.work,
        ...size,
        note: (message) => {
          process.stderr.write(`${message}\n`);
        },
      });
    });
}
