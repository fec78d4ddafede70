import { SandboxError } from "../errors/sandbox-error.js";
import { TaskError } from "../errors/task-error.js";
import type { Sandbox } from "../sandbox/sandbox.js";
import type { SandboxProvider } from "../sandbox/sandbox-provider.js";
import { scriptCommand } from "../sandbox/script-command.js";
import { scriptProblem } from "../sandbox/script-problem.js";
import type { Segment } from "../tokens/segment.js";
import { acceptAction } from "./accept-action.js";
import type { Environment } from "./environment.js";
import type { EnvironmentStep } from "./environment-step.js";
import { warningBlock } from "./warning-block.js";

export interface TerminalEnvironmentOptions {
  instruction: string;
  /** The world: paths relative to the root, directories come with their files. */
  files: readonly { path: string; text: string }[];
  /**
   * Scripts of the world, files too, that `bash <path>` may run, as long as all of them are as written here or only read; see `scriptProblem`.
   * Else `bash` is refused, and a rollout that ends like that scores 0. Without any there is no `bash`.
   */
  scripts?: readonly { path: string; text: string }[];
  /** Bash script, run in the root after the last action: exit status 0 solved, 1 not; anything else is a broken verifier. */
  verifier: string;
  sandboxes: SandboxProvider;
  /**
   * Narrows the closed command language: why an action it allows is refused all the same. Given the action as `tidyAction` mends it, and
   * the directory the shell stands in, relative to the root.
   */
  commandProblem?(action: string, cwd: string): string | undefined;
  /**
   * Deadline of one command, and of the verifier; default 60,000. Generous, because a machine under load is slow, and a command that meets it
   * makes the rollout inexact.
   */
  timeoutMs?: number;
  /** Output cap of one command in bytes; default 2,048. */
  maxOutputBytes?: number;
}

/**
 * A shell in a sandbox. Each action is one command line of the closed command language; the answer is what it printed, then a status
 * line with exit status and directory: `[0] ~/plum`. What is not in the language is not run and answers a warning; what is untidy
 * (`tidyAction`) is mended and run, and its output comes after format warnings. `submit <word>` leaves the word in `.submitted` in the
 * root and ends the episode; the verifier judges the files.
 */
export class TerminalEnvironment implements Environment {
  private readonly options: TerminalEnvironmentOptions;
  private sandbox: Sandbox | undefined;
  private cwd = "";

  constructor(options: TerminalEnvironmentOptions) {
    this.options = options;
  }

  async reset(signal?: AbortSignal): Promise<Segment[]> {
    await this.dispose();
    this.sandbox = await this.options.sandboxes.create(signal);
    this.cwd = "";
    const { files, scripts = [] } = this.options;
    for (const { path, text } of [...files, ...scripts]) await this.sandbox.writeFile(path, text);
    return [{ text: this.options.instruction, role: "context" }];
  }

  async step(actionText: string, signal?: AbortSignal): Promise<EnvironmentStep> {
    const sandbox = this.running("step");
    const command = acceptAction(actionText, {
      cwd: this.cwd,
      scripts: this.options.scripts?.map(({ path }) => path),
      commandProblem: this.options.commandProblem,
    });
    let problem = command.ok ? undefined : command.reason;
    if (command.ok && command.program === "bash") problem = await this.scriptProblem(sandbox);
    if (!command.ok || problem !== undefined)
      return {
        segments: [{ text: `${problem}\n`, role: "warning" }],
        done: false,
        exact: true,
        form: "refused",
      };
    const { warnings } = command;
    const form = warnings.length > 0 ? "untidy" : "clean";
    if (command.program === "submit") {
      await sandbox.writeFile(".submitted", `${command.line.slice("submit ".length)}\n`);
      return { segments: [], done: true, exact: true, form };
    }
    const { timeoutMs = 60_000, maxOutputBytes = 2048 } = this.options;
    const line =
      command.program === "bash" ? scriptCommand(command.line.slice("bash ".length)) : command.line;
    const result = await sandbox.exec(line, { timeoutMs, maxOutputBytes, signal });
    this.cwd = result.cwd;
    const segments = warningBlock(warnings);
    if (result.output !== "") segments.push({ text: withLineEnd(result.output), role: "observation" });
    if (result.truncated) segments.push({ text: "output cut\n", role: "warning" });
    if (result.timedOut) segments.push({ text: "timed out\n", role: "warning" });
    const place = result.cwd === "" ? "~" : `~/${result.cwd}`;
    segments.push({ text: `[${result.exitCode}] ${place}\n`, role: "observation" });
    return { segments, done: false, exact: !result.timedOut, form };
  }

  /** @throws TaskError ERR_VERIFIER when the verifier neither accepts nor rejects. */
  async score(signal?: AbortSignal): Promise<number> {
    const { timeoutMs = 60_000, verifier } = this.options;
    const sandbox = this.running("score");
    if ((await this.scriptProblem(sandbox)) !== undefined) return 0;
    const result = await sandbox.execOnce(verifier, { timeoutMs, signal });
    if (result.timedOut || result.exitCode > 1)
      throw new TaskError(
        "ERR_VERIFIER",
        `[TerminalEnvironment] the verifier ${result.timedOut ? "did not end in time" : `ended with status ${result.exitCode}`}: expected 0 or 1. It said: ${result.output.slice(0, 200)}`,
      );
    return result.exitCode === 0 ? 1 : 0;
  }

  async dispose(): Promise<void> {
    const sandbox = this.sandbox;
    this.sandbox = undefined;
    await sandbox?.dispose();
  }

  /** Why no script may run: one script may run another, so all are looked at. */
  private async scriptProblem(sandbox: Sandbox): Promise<string | undefined> {
    for (const { path, text } of this.options.scripts ?? []) {
      const content = await sandbox.readFile(path).catch((error: unknown) => {
        // Gone, or no longer a regular file: the agent's doing.
        if (error instanceof SandboxError && error.code === "ERR_SANDBOX_PATH") return undefined;
        throw error;
      });
      const problem = content ? scriptProblem(content, text) : "bash: script not allowed";
      if (problem !== undefined) return problem;
    }
    return undefined;
  }

  private running(method: string): Sandbox {
    if (this.sandbox) return this.sandbox;
    throw new TaskError(
      "ERR_TASK",
      `[TerminalEnvironment.${method}] there is no world yet: expected reset first.`,
    );
  }
}

const withLineEnd = (text: string): string => (text.endsWith("\n") ? text : `${text}\n`);
