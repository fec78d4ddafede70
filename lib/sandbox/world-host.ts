import { SandboxError } from "../errors/sandbox-error.js";
import type { ExecResult } from "./exec-result.js";
import type { ExecOptions, Sandbox } from "./sandbox.js";
import type { WorldChange } from "./world-change.js";
import type { WorldState } from "./world-state.js";

const WRITTEN: ExecResult = { output: "", exitCode: 0, cwd: "", truncated: false, timedOut: false };

/** A real sandbox and the state it is in. Work runs in turn. */
export class WorldHost {
  /** Undefined while a change is under way. */
  state: WorldState | undefined;
  /** One user keeps it, whatever state it is in. */
  owned = false;
  /** Work that has not ended. */
  pending = 0;
  private readonly made: Promise<Sandbox>;
  private readonly ready: Promise<Sandbox>;
  private last: Promise<unknown>;
  private cwd = "";

  /** Takes over a sandbox that is being made and brings it into `state`. */
  constructor(made: Promise<Sandbox>, state: WorldState) {
    this.state = state;
    this.made = made;
    this.ready = made.then(async (sandbox) => {
      for (const change of state.changes()) await this.apply(sandbox, change);
      return sandbox;
    });
    this.last = this.ready.catch(() => {});
  }

  /** Runs `work` when all before it has ended. Rejects when the sandbox could not be made or brought into its state. */
  async run<T>(work: (sandbox: Sandbox) => Promise<T>): Promise<T> {
    this.pending++;
    const turn = this.last.then(async () => await work(await this.ready));
    this.last = turn.catch(() => {});
    try {
      return await turn;
    } finally {
      this.pending--;
    }
  }

  /** Makes one change, or asks something, in the sandbox whose turn it is. */
  async apply(sandbox: Sandbox, change: WorldChange, signal?: AbortSignal): Promise<ExecResult> {
    if (change.kind === "write") {
      await sandbox.writeFile(change.path, change.data);
      return WRITTEN;
    }
    const options: ExecOptions = signal === undefined ? change.limits : { ...change.limits, signal };
    if (change.kind === "once") return await sandbox.execOnce(change.script, options);
    await this.enter(sandbox, change.cwd);
    const result = await sandbox.exec(change.line, options);
    this.cwd = result.cwd;
    return result;
  }

  async dispose(): Promise<void> {
    const sandbox = await this.made.catch(() => undefined);
    await sandbox?.dispose();
  }

  private async enter(sandbox: Sandbox, cwd: string): Promise<void> {
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
