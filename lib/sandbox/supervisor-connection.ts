import { type ChildProcess, spawn } from "node:child_process";
import { SandboxError } from "../errors/sandbox-error.js";
import { encodeRequest, errorCodes, operation, replyKind } from "./supervisor-protocol.js";

interface PendingCall {
  resolve(payload: Buffer): void;
  reject(error: Error): void;
}

/** One running supervisor and the calls in flight on its pipe. */
export class SupervisorConnection {
  /** Layers of isolation in force. */
  readonly layers: Promise<readonly string[]>;
  /** Settles when the process has ended. */
  readonly ended: Promise<void>;
  private readonly child: ChildProcess;
  private readonly pending = new Map<number, PendingCall>();
  private nextCall = 1;
  private unsent: Buffer[] = [];
  private input: Buffer[] = [];
  private inputLength = 0;
  /** Bytes until the next frame is whole; joined once, however many chunks a large frame takes. */
  private wanted = 4;
  private failure: SandboxError | undefined;

  constructor(executable: string, args: readonly string[]) {
    this.child = spawn(executable, args, { stdio: ["pipe", "pipe", "inherit"], env: {} });
    const { stdin, stdout } = this.child;
    if (stdin === null || stdout === null) throw new TypeError("[sandbox] the supervisor has no pipes");
    this.layers = new Promise((resolve, reject) => {
      this.pending.set(0, { resolve: (payload) => resolve(payload.toString("utf8").split(",")), reject });
    });
    this.ended = new Promise((resolve) => {
      this.child.once("close", (code, signal) => {
        this.fail(new SandboxError("ERR_SANDBOX_GONE", `[sandbox] the supervisor ended (${signal ?? code})`));
        resolve();
      });
      this.child.once("error", (error) => {
        this.fail(
          new SandboxError("ERR_SANDBOX_START", `[sandbox] cannot run ${executable}: ${error.message}`),
        );
        resolve();
      });
    });
    // A broken pipe is the end of the process, which `close` reports.
    stdin.on("error", () => {});
    stdout.on("error", () => {});
    stdout.on("data", (chunk: Buffer) => this.receive(chunk));
  }

  /** Sends one request; rejects with `SandboxError`. `started` receives the call's number, by which it can be cancelled. */
  call(
    op: number,
    sandbox: number,
    parts: readonly Uint8Array[] = [],
    started?: (call: number) => void,
  ): Promise<Buffer> {
    if (this.failure !== undefined) return Promise.reject(this.failure);
    const call = this.nextCall;
    this.nextCall = call === 0xffffffff ? 1 : call + 1;
    const answer = new Promise<Buffer>((resolve, reject) => this.pending.set(call, { resolve, reject }));
    if (this.pending.size === 1) this.ref();
    this.send(encodeRequest(op, call, sandbox, parts));
    started?.(call);
    return answer;
  }

  cancel(call: number): void {
    if (this.failure === undefined) this.send(encodeRequest(operation.cancel, call, 0, []));
  }

  /** Ends the supervisor, every sandbox with it. */
  async end(): Promise<void> {
    this.ref();
    this.child.stdin?.end();
    await this.ended;
  }

  /** One write for all requests of a tick. */
  private send(frame: Buffer): void {
    this.unsent.push(frame);
    if (this.unsent.length > 1) return;
    queueMicrotask(() => {
      const frames = this.unsent;
      this.unsent = [];
      const [first = frame] = frames;
      this.child.stdin?.write(frames.length === 1 ? first : Buffer.concat(frames));
    });
  }

  private receive(chunk: Buffer): void {
    this.input.push(chunk);
    this.inputLength += chunk.length;
    if (this.inputLength < this.wanted) return;
    const input = this.input.length === 1 ? chunk : Buffer.concat(this.input);
    let start = 0;
    this.wanted = 4;
    while (input.length - start >= this.wanted) {
      const end = start + 4 + input.readUInt32LE(start);
      if (input.length < end) {
        this.wanted = end - start;
        break;
      }
      this.answer(input.subarray(start + 4, end));
      start = end;
    }
    this.input = start < input.length ? [input.subarray(start)] : [];
    this.inputLength = input.length - start;
  }

  private answer(frame: Buffer): void {
    const kind = frame.readUInt8(0);
    const call = frame.readUInt32LE(1);
    const pending = this.pending.get(call);
    this.pending.delete(call);
    if (this.pending.size === 0) this.unref();
    if (pending === undefined) return;
    if (kind !== replyKind.error) {
      pending.resolve(frame.subarray(5));
      return;
    }
    const code = errorCodes[frame.readUInt8(5)] ?? "ERR_SANDBOX_GONE";
    pending.reject(new SandboxError(code, `[sandbox] ${frame.toString("utf8", 6)}`));
  }

  private fail(error: SandboxError): void {
    this.failure ??= error;
    for (const { reject } of this.pending.values()) reject(this.failure);
    this.pending.clear();
  }

  // An idle supervisor does not keep the process alive; one with a call in flight does.
  private ref(): void {
    this.child.ref();
    for (const stream of [this.child.stdin, this.child.stdout]) (stream as { ref?(): void } | null)?.ref?.();
  }

  private unref(): void {
    this.child.unref();
    for (const stream of [this.child.stdin, this.child.stdout])
      (stream as { unref?(): void } | null)?.unref?.();
  }
}
