import { existsSync, realpathSync } from "node:fs";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import { SandboxError } from "../errors/sandbox-error.js";
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

  /** @throws SandboxError `ERR_SANDBOX_START` when the supervisor is missing or cannot start, saying what mends it. */
  static async start(options: LocalSandboxOptions = {}): Promise<LocalSandboxProvider> {
    const { diskMiB = 16, memoryMiB = 256, processes = 64 } = options;
    const supervisor = new SupervisorConnection(findExecutable(), [
      String(process.pid),
      realpathSync(tmpdir()),
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

/** The executable lies beside the addon; this file is two folders below the package root, in lib/ and in dist/. */
function findExecutable(): string {
  if (process.platform !== "linux") {
    throw new SandboxError(
      "ERR_SANDBOX_START",
      `[sandbox] unsupported platform: expected linux, got ${process.platform}. TinyTerm needs Linux; the maze runs anywhere.`,
    );
  }
  const path = fileURLToPath(new URL("../../build/Release/echo_grpo_sandbox", import.meta.url));
  if (existsSync(path)) return path;
  throw new SandboxError(
    "ERR_SANDBOX_START",
    `[sandbox] the supervisor is missing: expected an executable at ${path}. Build it with: npm run build:native`,
  );
}
