import type { ExecResult } from "./exec-result.js";

export interface ExecOptions {
  /** Deadline; default 10,000. */
  timeoutMs?: number;
  /** Output cap in bytes; default 65,536. */
  maxOutputBytes?: number;
  signal?: AbortSignal;
}

/** Runs commands away from the host. Rejects with `SandboxError` only when the sandbox itself failed. */
export interface Sandbox {
  /** Runs one shell command line in the persistent shell (working directory and variables persist). */
  exec(command: string, options?: ExecOptions): Promise<ExecResult>;
  /** Runs a script in a fresh shell in the sandbox root (used by verifiers). */
  execOnce(script: string, options?: ExecOptions): Promise<ExecResult>;
  /** Path is relative to the sandbox root and must stay inside it. */
  readFile(path: string): Promise<Uint8Array>;
  /** Creates missing directories. */
  writeFile(path: string, data: Uint8Array | string): Promise<void>;
  dispose(): Promise<void>;
}
