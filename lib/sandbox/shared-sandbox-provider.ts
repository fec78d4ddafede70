import type { SandboxProvider } from "./sandbox-provider.js";
import { SharedSandbox } from "./shared-sandbox.js";
import { World } from "./world.js";
import { WorldState } from "./world-state.js";

export interface SharedSandboxOptions {
  /** About how many characters of worlds and answers are remembered before all are forgotten. Default 32 Mi. */
  rememberedCharacters?: number;
}

/**
 * Sandboxes that share work where nobody can tell: rollouts that began with the same files and made the same changes since are in the same
 * state, and a command that one of them asked in it is answered to the others as it was to the first. Every answer was given by a real
 * sandbox of `sandboxes`; whoever changes something gets a sandbox of its own. Sound only where the same commands in the same state give
 * the same answers, as the closed command language (`command-grammar.ts`) sees to: the clock, process numbers and random numbers are out
 * of its sight. What met a deadline, was aborted or failed is not shared.
 */
export class SharedSandboxProvider implements SandboxProvider {
  private readonly sandboxes: SandboxProvider;
  private empty = new WorldState();
  private readonly rememberedCharacters: number;
  private readonly worlds = new WeakMap<WorldState, World>();

  constructor(sandboxes: SandboxProvider, options: SharedSandboxOptions = {}) {
    this.sandboxes = sandboxes;
    this.rememberedCharacters = options.rememberedCharacters ?? 32 * 2 ** 20;
  }

  get layers(): readonly string[] {
    return this.sandboxes.layers;
  }

  /** Makes no real sandbox yet: the first command that nobody asked before does, and fails where that fails. */
  async create(signal?: AbortSignal): Promise<SharedSandbox> {
    signal?.throwIfAborted();
    if (this.empty.size > this.rememberedCharacters) this.empty = new WorldState();
    return new SharedSandbox(this.empty, (state) => this.worldOf(state));
  }

  async dispose(): Promise<void> {
    await this.sandboxes.dispose();
  }

  private worldOf(state: WorldState): World {
    let world = this.worlds.get(state);
    if (world === undefined) {
      world = new World(this.sandboxes);
      this.worlds.set(state, world);
    }
    return world;
  }
}
