import type { ScriptedAgent } from "../../../agent/scripted-agent.js";
import type { Segment } from "../../../tokens/segment.js";
import { TerminalView } from "../terminal-view.js";

/** Walks the tree depth first to the directory, lists it, reads its first file and submits the first word. */
export class VisitExpert implements ScriptedAgent {
  private readonly view = new TerminalView();
  private readonly entered = new Set<string>();
  private target = "";
  private action = "";

  next(answer: readonly Segment[]): string {
    if (this.action === "") this.target = answer[0]?.text.split(" ").at(-1) ?? "";
    else this.view.update(this.action, answer);
    this.action = this.choose();
    return this.action;
  }

  private choose(): string {
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
