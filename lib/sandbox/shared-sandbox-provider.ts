import { HostPool } from "./host-pool.js";
import type { SandboxProvider } from "./sandbox-provider.js";
import { SharedSandbox } from "./shared-sandbox.js";
import type { TreeSandbox } from "./tree-sandbox.js";
import { WorldStates } from "./world-states.js";

export interface SharedSandboxOptions {
  /** About how many characters of files and answers are remembered before all are forgotten. Default 32 Mi. */
  rememberedCharacters?: number;
  /** How many real sandboxes are kept for the next to come when nobody needs them. Default 64. */
  spareSandboxes?: number;
}

/**
 * Sandboxes that share work where nobody can tell: two that hold the same files, with the shell in the same directory, are in the same
 * state, however they came there, and a command of the closed command language that was asked in it is answered as it was before.
 * Every answer was given by a real sandbox of `sandboxes`, which is brought from state to state by changing its files. This is sound because
 * the closed language (`command-grammar.ts`) shows nothing but files: no clock, no process numbers, no random numbers, no order of a
 * directory. Whoever runs any other line gets a real sandbox of its own from then on. A script of `execOnce` must judge by the files
 * alone, too. What met a deadline, was aborted or failed is not shared.
 */
export class SharedSandboxProvider implements SandboxProvider {
  private readonly sandboxes: SandboxProvider<TreeSandbox>;
  private readonly states: WorldStates;
  private readonly hosts: HostPool;

  constructor(sandboxes: SandboxProvider<TreeSandbox>, options: SharedSandboxOptions = {}) {
    this.sandboxes = sandboxes;
    this.states = new WorldStates(options.rememberedCharacters ?? 32 * 2 ** 20);
    this.hosts = new HostPool(sandboxes, options.spareSandboxes ?? 64);
  }

  get layers(): readonly string[] {
    return this.sandboxes.layers;
  }

  /** Makes no real sandbox yet: the first command that nobody asked before does, and fails where that fails. */
  async create(signal?: AbortSignal): Promise<SharedSandbox> {
    signal?.throwIfAborted();
    return new SharedSandbox(this.states, this.hosts);
  }

  async dispose(): Promise<void> {
    await this.sandboxes.dispose();
  }
}
