import { ViewingAgent } from "../viewing-agent.js";

/** Walks the tree depth first to the directory, lists it, reads its first file and submits the first word. */
export class VisitExpert extends ViewingAgent {
  private readonly entered = new Set<string>();
  private target = "";

  protected override readInstruction(words: readonly string[]): void {
    this.target = words.at(-1) ?? "";
  }

  protected override choose(): string {
    const { view, target } = this;
    this.entered.add(view.cwd);
    if (!view.listings.has(view.cwd)) return "ls";
    if (view.cwd.split("/").at(-1) === target) {
      const [file] = view.files();
      const word = view.words.get(view.pathOf(file));
      return word === undefined ? `cat ${file}` : `submit ${word}`;
    }
    const next = [target, ...view.directories()].find(
      (name) => view.directories().includes(name) && !this.entered.has(view.pathOf(name)),
    );
    return next === undefined ? "cd .." : `cd ${next}`;
  }
}
