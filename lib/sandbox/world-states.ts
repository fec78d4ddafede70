import type { SandboxTree } from "./sandbox-tree.js";
import { WorldState } from "./world-state.js";

/** What an entry costs in memory beside its text, in characters. */
const OVERHEAD = 300;

/** The states that were met, by their files. Forgets them all when they hold more than they may. */
export class WorldStates {
  private readonly limit: number;
  private states = new Map<string, WorldState>();
  private characters = 0;

  /** @param limit about how many characters of files, commands and answers are kept. */
  constructor(limit: number) {
    this.limit = limit;
  }

  of(tree: SandboxTree): WorldState {
    if (this.characters > this.limit) {
      this.states = new Map();
      this.characters = 0;
    }
    const known = this.states.get(tree.key);
    if (known) return known;
    const { states } = this;
    const count = (characters: number): void => {
      // What belongs to states that were forgotten no longer counts.
      if (states === this.states) this.characters += characters + OVERHEAD;
    };
    const state = new WorldState(tree, count);
    states.set(tree.key, state);
    // The key and the bytes.
    count(2 * tree.key.length);
    return state;
  }
}
