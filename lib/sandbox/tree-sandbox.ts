import type { Sandbox } from "./sandbox.js";
import type { SandboxTree } from "./sandbox-tree.js";
import type { TreeEdit } from "./tree-edit.js";

/** A sandbox that can say what files it holds and be given others. */
export interface TreeSandbox extends Sandbox {
  /**
   * @throws SandboxError `ERR_SANDBOX_LIMIT` when it holds more than plain files (mode 0644, one name) and directories (0755), or more than
   * 1 MiB or 4,096 of them.
   */
  readTree(): Promise<SandboxTree>;
  /**
   * Makes the edits, in order. The shell must not stand in a directory that goes.
   * @throws SandboxError `ERR_SANDBOX_PATH` at the first that cannot be made; those before it stay made.
   */
  editTree(edits: readonly TreeEdit[]): Promise<void>;
}
