import { ViewingAgent } from "../viewing-agent.js";

/**
 * Walks the tree depth first, lists every directory it enters, reads the target where a listing shows it and submits its word. In the
 * last directory left it reads without listing first.
 */
export class FindExpert extends ViewingAgent {
  private readonly tried = new Set<string>();
  private target = "";

  protected override readInstruction(words: readonly string[]): void {
    this.target = words.at(-1) ?? "";
  }

  protected override choose(): string {
    const { view, target } = this;
    const word = view.words.get(view.pathOf(target));
    if (word !== undefined) return `submit ${word}`;
    if (view.listings.get(view.cwd)?.includes(target)) return `cat ${target}`;
    if (!view.listings.has(view.cwd)) {
      if (view.cwd === "" || this.tried.has(view.cwd) || view.unlisted().some((path) => path !== view.cwd))
        return "ls";
      this.tried.add(view.cwd);
      return `cat ${target}`;
    }
    const next = view
      .directories()
      .find((name) => view.unlisted().some((path) => isWithin(path, view.pathOf(name))));
    return next === undefined ? "cd .." : `cd ${next}`;
  }
}

const isWithin = (path: string, directory: string): boolean =>
  path === directory || path.startsWith(`${directory}/`);
