import type { Sandbox } from "./sandbox.js";

/** Makes sandboxes; owns what they share. */
export interface SandboxProvider<S extends Sandbox = Sandbox> {
  /** Layers of isolation in force, for `doctor`: for example `pid-namespace`, `landlock`, `unprivileged-uid`. */
  readonly layers: readonly string[];
  create(signal?: AbortSignal): Promise<S>;
  /** Ends every sandbox and every process of theirs. */
  dispose(): Promise<void>;
}
