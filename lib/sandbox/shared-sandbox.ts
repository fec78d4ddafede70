import { SandboxError } from "../errors/sandbox-error.js";
import { checkSandboxPath } from "./check-sandbox-path.js";
import type { ExecResult } from "./exec-result.js";
import { orAborted } from "./or-aborted.js";
import { readsOnly } from "./reads-only.js";
import type { ExecOptions, Sandbox } from "./sandbox.js";
import type { World } from "./world.js";
import { nameOfChange, type WorldChange } from "./world-change.js";
import type { WorldHost } from "./world-host.js";
import type { WorldAnswer, WorldState } from "./world-state.js";

/** A sandbox of `SharedSandboxProvider`. Calls run one after another, in the order made. */
export class SharedSandbox implements Sandbox {
  private readonly worldOf: (state: WorldState) => World;
  private state: WorldState;
  private cwd = "";
  /** Entered with the first command. */
  private world: World | undefined;
  /** A sandbox that nobody shares, after a deadline, an abort or a failure: what state it is in, nobody knows. */
  private own: WorldHost | undefined;
  private last: Promise<unknown> = Promise.resolve();
  private disposal: Promise<void> | undefined;
  private readonly disposed: Promise<never>;
  private refuse: (reason: Error) => void = () => {};

  constructor(empty: WorldState, worldOf: (state: WorldState) => World) {
    this.worldOf = worldOf;
    this.state = empty;
    this.state.occupants++;
    this.disposed = new Promise((_, reject) => {
      this.refuse = reject;
    });
    this.disposed.catch(() => {});
  }

  /** @throws SandboxError as the sandboxes behind it do; `ERR_SANDBOX_PATH` when a file of the world could not be written. */
  exec(command: string, options: ExecOptions = {}): Promise<ExecResult> {
    const { signal, ...limits } = options;
    return this.inTurn(signal, async () => {
      const result = await this.ask({ kind: "exec", line: command, cwd: this.cwd, limits }, signal);
      this.cwd = result.cwd;
      return { ...result };
    });
  }

  /** @throws SandboxError as `exec`. */
  execOnce(script: string, options: ExecOptions = {}): Promise<ExecResult> {
    const { signal, ...limits } = options;
    return this.inTurn(signal, async () => ({
      ...(await this.ask({ kind: "once", script, limits }, signal)),
    }));
  }

  /** @throws SandboxError `ERR_SANDBOX_PATH` when there is no such regular file inside the root. */
  readFile(path: string): Promise<Uint8Array> {
    return this.inTurn(undefined, async () => {
      checkSandboxPath(path);
      if (this.own) return await this.own.run((sandbox) => sandbox.readFile(path));
      const { state } = this;
      const known = state.contentOf(path);
      if (known) return known;
      const content = await this.inWorld()
        .toRead(state)
        .run((sandbox) => sandbox.readFile(path));
      state.rememberContent(path, content);
      return content;
    });
  }

  /**
   * Before the first command nothing is written yet; what cannot be written then makes that command fail.
   * @throws SandboxError `ERR_SANDBOX_PATH` when the path leaves the root or cannot be written.
   */
  writeFile(path: string, data: Uint8Array | string): Promise<void> {
    return this.inTurn(undefined, async () => {
      checkSandboxPath(path);
      const change = {
        kind: "write",
        path,
        data: typeof data === "string" ? data : new Uint8Array(data),
      } as const;
      if (this.world) await this.ask(change, undefined);
      else this.moveTo(this.state.after(nameOfChange(change), change));
    });
  }

  /** Calls in flight reject with `ERR_SANDBOX_DISPOSED`. */
  dispose(): Promise<void> {
    this.disposal ??= this.leave();
    return this.disposal;
  }

  private async leave(): Promise<void> {
    this.refuse(new SandboxError("ERR_SANDBOX_DISPOSED", "[sandbox] the sandbox was disposed of"));
    this.state.occupants--;
    if (this.own) this.world?.end(this.own);
    await this.world?.leave();
  }

  private inTurn<T>(signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    const turn = this.last.then(async () => {
      if (this.disposal) return await this.disposed;
      signal?.throwIfAborted();
      return await Promise.race([work(), this.disposed]);
    });
    this.last = turn.catch(() => {});
    return turn;
  }

  /** The answer that was given in this state before, or what a real sandbox says now. */
  private async ask(change: WorldChange, signal: AbortSignal | undefined): Promise<ExecResult> {
    const { own } = this;
    if (own) return await own.run((sandbox) => own.apply(sandbox, change, signal));
    const world = this.inWorld();
    const name = nameOfChange(change);
    for (;;) {
      const known = this.state.answerTo(name);
      if (known === undefined) return await this.askFirst(world, name, change, signal);
      // Whoever asked first may fail for reasons of its own; then we ask ourselves.
      const answer = known instanceof Promise ? await orAborted(known, signal).catch(() => undefined) : known;
      signal?.throwIfAborted();
      if (this.disposal) return await this.disposed;
      if (answer === undefined) continue;
      this.moveTo(answer.next);
      return answer.result;
    }
  }

  private async askFirst(
    world: World,
    name: string,
    change: WorldChange,
    signal: AbortSignal | undefined,
  ): Promise<ExecResult> {
    const { state } = this;
    const reads = change.kind === "exec" && readsOnly(change.line, change.cwd);
    // A verifier comes last and is asked once for all: seldom does anybody need the state again.
    const host = reads ? world.toRead(state) : world.toChange(state, change.kind === "once");
    // Others read in the same sandbox: what one of them asked goes on when that one is told to stop.
    const work = host.run((sandbox) => host.apply(sandbox, change, reads ? undefined : signal));
    const answer = work.then((result): WorldAnswer => {
      if (result.timedOut)
        throw new SandboxError("ERR_SANDBOX_LIMIT", "[sandbox] the command met its deadline");
      const next = reads ? state : state.after(name, change);
      if (!reads) host.state = next;
      return { result, next };
    });
    state.remember(name, answer);
    try {
      const result = reads ? await orAborted(work, signal) : await work;
      if (!result.timedOut) this.moveTo((await answer).next);
      else if (!reads) this.keep(world, host);
      return result;
    } catch (error) {
      if (reads) work.catch(() => world.end(host));
      else this.keep(world, host);
      throw error;
    }
  }

  private keep(world: World, host: WorldHost): void {
    host.owned = true;
    if (this.disposal) world.end(host);
    else this.own = host;
  }

  private moveTo(state: WorldState): void {
    if (this.disposal) return;
    this.state.occupants--;
    this.state = state;
    state.occupants++;
  }

  private inWorld(): World {
    if (this.world === undefined) {
      this.world = this.worldOf(this.state);
      this.world.enter();
    }
    return this.world;
  }
}
