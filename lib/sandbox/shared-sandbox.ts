import { SandboxError } from "../errors/sandbox-error.js";
import { checkSandboxPath } from "./check-sandbox-path.js";
import type { ExecResult } from "./exec-result.js";
import type { HostPool } from "./host-pool.js";
import { lineEffect } from "./line-effect.js";
import { nameOfCommand } from "./name-of-command.js";
import { orAborted } from "./or-aborted.js";
import type { ExecOptions, Sandbox } from "./sandbox.js";
import { SandboxTree } from "./sandbox-tree.js";
import type { SharedCommand } from "./shared-command.js";
import type { WorldHost } from "./world-host.js";
import type { WorldAnswer, WorldState } from "./world-state.js";
import type { WorldStates } from "./world-states.js";

/** A sandbox of `SharedSandboxProvider`. Calls run one after another, in the order made. */
export class SharedSandbox implements Sandbox {
  private readonly states: WorldStates;
  private readonly hosts: HostPool;
  private tree = SandboxTree.empty;
  private cwd = "";
  /** A sandbox that nobody shares: what state it is in, nobody knows. */
  private own: WorldHost | undefined;
  private last: Promise<unknown> = Promise.resolve();
  private disposal: Promise<void> | undefined;
  private readonly disposed: Promise<never>;
  private refuse: (reason: Error) => void = () => {};

  constructor(states: WorldStates, hosts: HostPool) {
    this.states = states;
    this.hosts = hosts;
    hosts.enter();
    this.disposed = new Promise((_, reject) => {
      this.refuse = reject;
    });
    this.disposed.catch(() => {});
  }

  /** @throws SandboxError as the sandboxes behind it do; `ERR_SANDBOX_PATH` when the files do not fit into one. */
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
      const content = this.tree.file(path);
      if (content) return content;
      throw new SandboxError("ERR_SANDBOX_PATH", `[sandbox] no regular file: ${JSON.stringify(path)}`);
    });
  }

  /** @throws SandboxError `ERR_SANDBOX_PATH` when the path leaves the root or cannot be written. */
  writeFile(path: string, data: Uint8Array | string): Promise<void> {
    return this.inTurn(undefined, async () => {
      checkSandboxPath(path);
      if (this.own) await this.own.run((sandbox) => sandbox.writeFile(path, data));
      else this.tree = this.tree.withFile(path, data);
    });
  }

  /** Calls in flight reject with `ERR_SANDBOX_DISPOSED`. */
  dispose(): Promise<void> {
    this.disposal ??= this.leave();
    return this.disposal;
  }

  private async leave(): Promise<void> {
    this.refuse(new SandboxError("ERR_SANDBOX_DISPOSED", "[sandbox] the sandbox was disposed of"));
    if (this.own) this.hosts.end(this.own);
    await this.hosts.leave();
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
  private async ask(command: SharedCommand, signal: AbortSignal | undefined): Promise<ExecResult> {
    const { own } = this;
    if (own) return await own.run((sandbox) => own.perform(sandbox, command, signal));
    const state = this.states.of(this.tree);
    const name = nameOfCommand(command);
    for (;;) {
      const known = state.answerTo(name);
      if (known === undefined) return await this.askFirst(state, name, command, signal);
      // Whoever asked first may fail for reasons of its own; then we ask ourselves.
      const answer = known instanceof Promise ? await orAborted(known, signal).catch(() => undefined) : known;
      signal?.throwIfAborted();
      if (this.disposal) return await this.disposed;
      if (answer === undefined) continue;
      this.tree = answer.next.tree;
      return answer.result;
    }
  }

  /** What may be shared is remembered; so only what nobody has asked yet need be looked at. */
  private askFirst(
    state: WorldState,
    name: string,
    command: SharedCommand,
    signal: AbortSignal | undefined,
  ): Promise<ExecResult> {
    const effect = command.kind === "once" ? "changes" : lineEffect(command.line, command.cwd);
    if (effect === "unknown") return this.askAlone(state, command, signal);
    return effect === "reads"
      ? this.read(state, name, command, signal)
      : this.change(state, name, command, signal);
  }

  /** Others read in the same sandbox: what one of them asked goes on when that one is told to stop. */
  private async read(
    state: WorldState,
    name: string,
    command: SharedCommand,
    signal: AbortSignal | undefined,
  ): Promise<ExecResult> {
    const host = this.hosts.toRead(state);
    const work = host.run(async (sandbox) => {
      await host.bring(sandbox, state.tree, command);
      return await host.perform(sandbox, command);
    });
    state.remember(
      name,
      work.then((result) => ({ result: inTime(result), next: state })),
    );
    work.catch(() => this.hosts.end(host));
    return await orAborted(work, signal);
  }

  private async change(
    state: WorldState,
    name: string,
    command: SharedCommand,
    signal: AbortSignal | undefined,
  ): Promise<ExecResult> {
    const host = this.hosts.toChange(state);
    const work = host.run(async (sandbox) => {
      await host.bring(sandbox, state.tree, command);
      const result = await host.perform(sandbox, command, signal);
      return { result, tree: result.timedOut ? undefined : await host.look(sandbox) };
    });
    const answer = work.then(({ result, tree }): WorldAnswer => {
      if (tree === undefined) throw notShared();
      host.state = this.states.of(tree);
      return { result, next: host.state };
    });
    state.remember(name, answer);
    try {
      const { result, tree } = await work;
      if (tree === undefined) this.keep(host);
      else this.tree = (await answer).next.tree;
      return result;
    } catch (error) {
      this.keep(host);
      throw error;
    }
  }

  /** Nobody knows what such a command leaves behind. */
  private async askAlone(
    state: WorldState,
    command: SharedCommand,
    signal: AbortSignal | undefined,
  ): Promise<ExecResult> {
    const host = this.hosts.toChange(state);
    this.keep(host);
    return await host.run(async (sandbox) => {
      await host.bring(sandbox, state.tree, command);
      return await host.perform(sandbox, command, signal);
    });
  }

  private keep(host: WorldHost): void {
    host.owned = true;
    if (this.disposal) this.hosts.end(host);
    else this.own = host;
  }
}

const notShared = (): SandboxError =>
  new SandboxError("ERR_SANDBOX_LIMIT", "[sandbox] the answer is not for others");

function inTime(result: ExecResult): ExecResult {
  if (result.timedOut) throw notShared();
  return result;
}
