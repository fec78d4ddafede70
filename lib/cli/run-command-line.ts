import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Command, CommanderError } from "commander";
import { packageRoot } from "../native/package-root.js";
import { addDoctorCommand } from "./doctor-command.js";
import { addEvalCommand } from "./eval-command.js";
import { ExitStatus } from "./exit-status.js";
import { addMakeStartPolicyCommand } from "./make-start-policy-command.js";
import { addQuickstartCommand } from "./quickstart-command.js";
import { addRecordCommand } from "./record-command.js";
import { addTrainCommand } from "./train-command.js";

/**
 * Runs `echo-grpo` with the given arguments. Each command loads what it needs when it runs, so `--help` is quick.
 *
 * @returns the exit status: 0 done, 1 failed, 2 wrong usage or configuration, 130 and 143 stopped by Ctrl-C and SIGTERM.
 */
export async function runCommandLine(argv: readonly string[]): Promise<number> {
  const { version } = JSON.parse(readFileSync(join(packageRoot(), "package.json"), "utf8")) as {
    version: string;
  };
  const status = new ExitStatus();
  const program = new Command("echo-grpo")
    .description(
      "Trains terminal agents with ECHO: GRPO on what the agent wrote, cross-entropy on what the terminal answered.",
    )
    .version(version)
    .option("--debug", "print the stack of an error")
    .showHelpAfterError("(run with --help for the options)")
    .exitOverride();
  addQuickstartCommand(program, status);
  addTrainCommand(program, status);
  addMakeStartPolicyCommand(program);
  addEvalCommand(program);
  addRecordCommand(program, status);
  addDoctorCommand(program, status);
  for (const command of program.commands) command.exitOverride().showHelpAfterError(false);
  try {
    await program.parseAsync([...argv], { from: "user" });
    return status.code;
  } catch (error) {
    // commander has printed its own message, or the help that was asked for.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    const { code, message, name, stack } = error as Error & { code?: string };
    const known = typeof code === "string" && code.startsWith("ERR_");
    process.stderr.write(`${program.opts().debug ? stack : known ? message : `${name}: ${message}`}\n`);
    return name === "ConfigError" ? 2 : 1;
  }
}
