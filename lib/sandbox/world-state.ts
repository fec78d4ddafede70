import type { ExecResult } from "./exec-result.js";
import type { WorldChange } from "./world-change.js";

/** What an operation said in a state, and where it leads. */
export interface WorldAnswer {
  result: ExecResult;
  next: WorldState;
}

/** What an entry costs in memory beside its text, in characters. */
const OVERHEAD = 300;

/**
 * Everything a command could see of a sandbox but the directory its shell stands in: the changes that led there, one after another. What
 * was asked in it is remembered.
 */
export class WorldState {
  /** Sandboxes that are in this state now. */
  occupants = 0;
  private readonly root: WorldState;
  private readonly parent: WorldState | undefined;
  private readonly change: WorldChange | undefined;
  private readonly children = new Map<string, WorldState>();
  private readonly answers = new Map<string, WorldAnswer | Promise<WorldAnswer>>();
  private readonly contents = new Map<string, Uint8Array>();
  private characters = 0;

  /** Without arguments: the empty sandbox. */
  constructor(parent?: WorldState, change?: WorldChange) {
    this.parent = parent;
    this.change = change;
    this.root = parent?.root ?? this;
  }

  /** About how many characters the state and all that follow from it hold. */
  get size(): number {
    return this.characters;
  }

  /** The state after a change; `key` names the change. */
  after(key: string, change: WorldChange): WorldState {
    let child = this.children.get(key);
    if (child === undefined) {
      child = new WorldState(this, change);
      this.children.set(key, child);
      this.root.characters += key.length + OVERHEAD;
    }
    return child;
  }

  /** The answer to the operation of that name; a promise while the first to ask waits for it. */
  answerTo(key: string): WorldAnswer | Promise<WorldAnswer> | undefined {
    return this.answers.get(key);
  }

  /** Remembers an answer; one that fails is forgotten, so that the next to ask tries again. */
  remember(key: string, answer: Promise<WorldAnswer>): void {
    this.answers.set(key, answer);
    answer.then(
      (kept) => {
        this.answers.set(key, kept);
        this.root.characters += key.length + kept.result.output.length + OVERHEAD;
      },
      () => this.answers.delete(key),
    );
  }

  /** What the file of that path was read to hold. */
  contentOf(path: string): Uint8Array | undefined {
    const content = this.contents.get(path);
    return content && new Uint8Array(content);
  }

  /** Remembers what a file holds. */
  rememberContent(path: string, content: Uint8Array): void {
    if (this.contents.has(path)) return;
    // Not `slice`: that of a Buffer is no copy.
    this.contents.set(path, new Uint8Array(content));
    this.root.characters += path.length + content.length + OVERHEAD;
  }

  /** All changes since the empty sandbox, first to last. */
  changes(): WorldChange[] {
    const before = this.parent?.changes() ?? [];
    return this.change === undefined ? before : [...before, this.change];
  }
}
