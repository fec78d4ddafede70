import { tmpdir } from "node:os";
import { resolve } from "node:path";
import { ArgumentError } from "../errors/argument-error.js";
import { SandboxError } from "../errors/sandbox-error.js";
import { findSupervisor } from "./find-supervisor.js";
import { LocalSandbox } from "./local-sandbox.js";
import type { SandboxProvider } from "./sandbox-provider.js";
import { SupervisorConnection } from "./supervisor-connection.js";
import { decodeUsage, operation, type SupervisorUsage } from "./supervisor-protocol.js";

export interface LocalSandboxOptions {
  /** Most bytes a sandbox can write, in MiB. Default 16. */
  diskMiB?: number;
  /** Address space of each process of a sandbox, in MiB. Default 256. */
  memoryMiB?: number;
  /** Most processes of a sandbox at once. Default 64. */
  processes?: number;
}

/**
 * Sandboxes in this machine's own kernel, for our own generated tasks and commands that `parseCommand` accepted. Linux only. One
 * supervisor process serves them all; it and everything in them end with this process, however that ends.
 */
export class LocalSandboxProvider implements SandboxProvider {
  readonly layers: readonly string[];
  private readonly supervisor: SupervisorConnection;
  private nextId = 1;

  private constructor(supervisor: SupervisorConnection, layers: readonly string[]) {
    this.supervisor = supervisor;
    this.layers = layers;
  }

  /**
   * @throws SandboxError `ERR_SANDBOX_START` when the supervisor is missing or cannot start, saying what mends it; ArgumentError
   * `ERR_OUT_OF_RANGE`.
   */
  static async start(options: LocalSandboxOptions = {}): Promise<LocalSandboxProvider> {
    const { diskMiB = 16, memoryMiB = 256, processes = 64 } = options;
    for (const [name, value] of Object.entries({ diskMiB, memoryMiB, processes })) {
      if (Number.isInteger(value) && value >= 1 && value <= 1_048_576) continue;
      throw new ArgumentError(
        "ERR_OUT_OF_RANGE",
        `[sandbox] bad ${name}: expected a whole number from 1 to 1048576, got ${value}.`,
      );
    }
    const supervisor = new SupervisorConnection(findSupervisor(), [
      String(process.pid),
      resolve(tmpdir()),
      process.env.ECHO_GRPO_SANDBOX_LAYERS || "all",
      String(diskMiB),
      String(memoryMiB),
      String(processes),
    ]);
    try {
      return new LocalSandboxProvider(supervisor, await supervisor.layers);
    } catch (error) {
      const reason = error instanceof Error ? error.message.replace(/^\[sandbox\] /, "") : String(error);
      throw new SandboxError(
        "ERR_SANDBOX_START",
        `[sandbox] the local sandbox cannot start: ${reason}. It needs bash in /usr/bin or /bin and a writable temporary directory (TMPDIR).`,
        { cause: error },
      );
    }
  }

  /** @throws SandboxError `ERR_SANDBOX_START` or, when the supervisor has died, `ERR_SANDBOX_GONE`. */
  async create(signal?: AbortSignal): Promise<LocalSandbox> {
    signal?.throwIfAborted();
    const id = this.nextId++;
    await this.supervisor.call(operation.create, id);
    const sandbox = new LocalSandbox(this.supervisor, id);
    if (signal?.aborted) {
      await sandbox.dispose();
      signal.throwIfAborted();
    }
    return sandbox;
  }

  /** CPU time so far. @throws SandboxError `ERR_SANDBOX_GONE` when the supervisor has died. */
  async usage(): Promise<SupervisorUsage> {
    return decodeUsage(await this.supervisor.call(operation.usage, 0));
  }

  async dispose(): Promise<void> {
    await this.supervisor.end();
  }
}
