import type { Sandbox } from "./sandbox.js";

/** Makes sandboxes; owns what they share. */
export interface SandboxProvider {
  /** Layers of isolation in force, for `doctor`: for example `pid-namespace`, `landlock`, `unprivileged-uid`. */
  readonly layers: readonly string[];
  create(signal?: AbortSignal): Promise<Sandbox>;
  /** Ends every sandbox and every process of theirs. */
  dispose(): Promise<void>;
}
