import { ArgumentError } from "../errors/argument-error.js";
import { SandboxError } from "../errors/sandbox-error.js";
import { checkSandboxPath } from "./check-sandbox-path.js";
import type { ExecResult } from "./exec-result.js";
import type { ExecOptions } from "./sandbox.js";
import { SandboxTree } from "./sandbox-tree.js";
import type { SupervisorConnection } from "./supervisor-connection.js";
import { decodeResult, encodeTreeEdits, encodeU32, operation } from "./supervisor-protocol.js";
import type { TreeEdit } from "./tree-edit.js";
import type { TreeSandbox } from "./tree-sandbox.js";

/** A sandbox of `LocalSandboxProvider`. Calls run one after another, in the order made. */
export class LocalSandbox implements TreeSandbox {
  private readonly supervisor: SupervisorConnection;
  private readonly id: number;
  private last: Promise<unknown> = Promise.resolve();
  private disposal: Promise<void> | undefined;

  constructor(supervisor: SupervisorConnection, id: number) {
    this.supervisor = supervisor;
    this.id = id;
  }

  /** @throws SandboxError `ERR_SANDBOX_GONE` when the shell or the sandbox has ended, `ERR_SANDBOX_DISPOSED`, `ERR_SANDBOX_LIMIT`. */
  exec(command: string, options?: ExecOptions): Promise<ExecResult> {
    return this.inTurn(() => this.run(operation.exec, command, options));
  }

  /** A script of at most 120 KiB. @throws SandboxError as `exec`. */
  execOnce(script: string, options?: ExecOptions): Promise<ExecResult> {
    return this.inTurn(() => this.run(operation.execOnce, script, options));
  }

  /** @throws SandboxError `ERR_SANDBOX_PATH` when there is no such regular file inside the root. */
  readFile(path: string): Promise<Uint8Array> {
    return this.inTurn(async () => {
      checkSandboxPath(path);
      return await this.withPath(
        path,
        this.supervisor.call(operation.readFile, this.id, [Buffer.from(path)]),
      );
    });
  }

  /** @throws SandboxError `ERR_SANDBOX_PATH` when the path leaves the root or cannot be written. */
  writeFile(path: string, data: Uint8Array | string): Promise<void> {
    return this.inTurn(async () => {
      checkSandboxPath(path);
      const name = Buffer.from(path);
      const bytes = typeof data === "string" ? Buffer.from(data) : data;
      const parts = [encodeU32(name.length), name, bytes];
      await this.withPath(path, this.supervisor.call(operation.writeFile, this.id, parts));
    });
  }

  /**
   * All files and directories.
   * @throws SandboxError `ERR_SANDBOX_LIMIT` when it holds more than plain files (mode 0644, one name) and directories (0755), or more than
   * 1 MiB or 4,096 of them.
   */
  readTree(): Promise<SandboxTree> {
    return this.inTurn(async () =>
      SandboxTree.decode(await this.supervisor.call(operation.readTree, this.id)),
    );
  }

  /**
   * Makes the edits, in order. The shell must not stand in a directory that goes.
   * @throws SandboxError `ERR_SANDBOX_PATH` at the first that cannot be made; those before it stay made.
   */
  editTree(edits: readonly TreeEdit[]): Promise<void> {
    return this.inTurn(async () => {
      await this.supervisor.call(operation.editTree, this.id, [encodeTreeEdits(edits)]);
    });
  }

  /** Ends every process of the sandbox and removes its files. Calls in flight reject with `ERR_SANDBOX_DISPOSED`. */
  dispose(): Promise<void> {
    this.disposal ??= this.supervisor.call(operation.destroy, this.id).then(
      () => {},
      (error: unknown) => {
        // With the supervisor gone, so is the sandbox.
        if (!(error instanceof SandboxError && error.code === "ERR_SANDBOX_GONE")) throw error;
      },
    );
    return this.disposal;
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.last.then(async () => {
      if (this.disposal !== undefined) {
        throw new SandboxError("ERR_SANDBOX_DISPOSED", "[sandbox] the sandbox was disposed of");
      }
      return await work();
    });
    this.last = turn.catch(() => {});
    return turn;
  }

  private async run(op: number, text: string, options: ExecOptions = {}): Promise<ExecResult> {
    const { timeoutMs = 10_000, maxOutputBytes = 65_536, signal } = options;
    signal?.throwIfAborted();
    let cancel: (() => void) | undefined;
    const limits = encodeU32(
      checkLimit("timeoutMs", timeoutMs),
      checkLimit("maxOutputBytes", maxOutputBytes),
    );
    try {
      const answer = this.supervisor.call(op, this.id, [limits, Buffer.from(text)], (call) => {
        cancel = () => this.supervisor.cancel(call);
        signal?.addEventListener("abort", cancel, { once: true });
      });
      const { cancelled, ...result } = decodeResult(await answer);
      if (cancelled) signal?.throwIfAborted();
      return result;
    } finally {
      if (cancel !== undefined) signal?.removeEventListener("abort", cancel);
    }
  }

  private async withPath(path: string, answer: Promise<Buffer>): Promise<Buffer> {
    try {
      return await answer;
    } catch (error) {
      if (!(error instanceof SandboxError) || error.code !== "ERR_SANDBOX_PATH") throw error;
      throw new SandboxError(error.code, `${error.message}: ${JSON.stringify(path)}`, { cause: error });
    }
  }
}

function checkLimit(name: string, value: number): number {
  if (Number.isFinite(value) && value >= 0 && value <= 0x7fffffff) return Math.ceil(value);
  throw new ArgumentError(
    "ERR_OUT_OF_RANGE",
    `[sandbox] bad ${name}: expected 0 to 2147483647, got ${value}.`,
  );
}
