import { SandboxError } from "../errors/sandbox-error.js";
import type { ExecResult } from "./exec-result.js";
import type { ExecOptions } from "./sandbox.js";
import { SandboxTree } from "./sandbox-tree.js";
import type { SharedCommand } from "./shared-command.js";
import type { TreeSandbox } from "./tree-sandbox.js";
import type { WorldState } from "./world-state.js";

/** A real sandbox and the state it is in. Work runs in turn. */
export class WorldHost {
  /** Where it stands when its work has ended; undefined while a change is under way. */
  state: WorldState | undefined;
  /** One user keeps it, whatever state it is in. */
  owned = false;
  /** Work that has not ended. */
  pending = 0;
  private readonly made: Promise<TreeSandbox>;
  private last: Promise<unknown> = Promise.resolve();
  /** What is in the sandbox now. */
  private tree = SandboxTree.empty;
  private cwd = "";
  /** Why nobody knows what is in it. */
  private failure: Error | undefined;

  /** Takes over a sandbox that is being made. */
  constructor(made: Promise<TreeSandbox>) {
    this.made = made;
    made.catch(() => {});
  }

  /** Runs `work` when all before it has ended. Rejects when the sandbox could not be made or brought into a state. */
  async run<T>(work: (sandbox: TreeSandbox) => Promise<T>): Promise<T> {
    this.pending++;
    const turn = this.last.then(async () => {
      if (this.failure !== undefined) throw this.failure;
      return await work(await this.made);
    });
    this.last = turn.catch(() => {});
    try {
      return await turn;
    } finally {
      this.pending--;
    }
  }

  /** Puts these files in place of those that are there, and the shell where the command wants it. Only as part of `run`. */
  async bring(sandbox: TreeSandbox, tree: SandboxTree, command: SharedCommand): Promise<void> {
    try {
      if (tree.key !== this.tree.key) {
        await this.enter(sandbox, "");
        await sandbox.editTree(this.tree.editsTo(tree));
        this.tree = tree;
      }
      if (command.kind === "exec") await this.enter(sandbox, command.cwd);
    } catch (error) {
      this.failure = error instanceof Error ? error : new Error(String(error));
      throw error;
    }
  }

  /** Only as part of `run`. */
  async perform(sandbox: TreeSandbox, command: SharedCommand, signal?: AbortSignal): Promise<ExecResult> {
    const options: ExecOptions = signal === undefined ? command.limits : { ...command.limits, signal };
    if (command.kind === "once") return await sandbox.execOnce(command.script, options);
    const result = await sandbox.exec(command.line, options);
    this.cwd = result.cwd;
    return result;
  }

  /** What is in the sandbox after a command that may have changed it; undefined when that cannot be told. Only as part of `run`. */
  async look(sandbox: TreeSandbox): Promise<SandboxTree | undefined> {
    try {
      const tree = await sandbox.readTree();
      this.tree = tree;
      return tree;
    } catch (error) {
      if (error instanceof SandboxError && error.code === "ERR_SANDBOX_LIMIT") return undefined;
      throw error;
    }
  }

  async dispose(): Promise<void> {
    const sandbox = await this.made.catch(() => undefined);
    await sandbox?.dispose();
  }

  private async enter(sandbox: TreeSandbox, cwd: string): Promise<void> {
    if (cwd === this.cwd) return;
    const quoted = `'${cwd.replaceAll("'", "'\\''")}'`;
    const command = cwd === "" ? "cd" : cwd.startsWith("/") ? `cd -- ${quoted}` : `cd && cd -- ${quoted}`;
    this.cwd = (await sandbox.exec(command)).cwd;
    if (this.cwd === cwd) return;
    throw new SandboxError(
      "ERR_SANDBOX_GONE",
      `[sandbox] a shared sandbox lost its place: expected to enter ${JSON.stringify(cwd)}, got ${JSON.stringify(this.cwd)}. Its rollout is excluded.`,
    );
  }
}
