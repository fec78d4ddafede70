import type { ExecResult } from "./exec-result.js";
import type { SandboxTree } from "./sandbox-tree.js";

/** What a command said in a state, and where it leads. */
export interface WorldAnswer {
  result: ExecResult;
  next: WorldState;
}

/** Everything a command could see of a sandbox but the directory its shell stands in: its files. What was asked in it is remembered. */
export class WorldState {
  readonly tree: SandboxTree;
  private readonly onRemember: (characters: number) => void;
  private readonly answers = new Map<string, WorldAnswer | Promise<WorldAnswer>>();

  constructor(tree: SandboxTree, onRemember: (characters: number) => void) {
    this.tree = tree;
    this.onRemember = onRemember;
  }

  /** The answer to the command of that name; a promise while the first to ask waits for it. */
  answerTo(name: string): WorldAnswer | Promise<WorldAnswer> | undefined {
    return this.answers.get(name);
  }

  /** Remembers an answer; one that fails is forgotten, so that the next to ask tries again. */
  remember(name: string, answer: Promise<WorldAnswer>): void {
    this.answers.set(name, answer);
    answer.then(
      (kept) => {
        this.answers.set(name, kept);
        this.onRemember(name.length + kept.result.output.length);
      },
      () => this.answers.delete(name),
    );
  }
}
