import type { ScriptedAgent } from "../../../agent/scripted-agent.js";
import type { Segment } from "../../../tokens/segment.js";
import { TerminalView } from "../terminal-view.js";

/** Stays in the root, lists directories level by level until one shows the target, marks it by its path and submits. */
export class NavigateExpert implements ScriptedAgent {
  private readonly view = new TerminalView();
  private target = "";
  private action = "";
  private marked = false;

  next(answer: readonly Segment[]): string {
    if (this.action === "") this.target = answer[0]?.text.split(" ").at(-1) ?? "";
    else this.view.update(this.action, answer);
    this.action = this.choose();
    return this.action;
  }

  private choose(): string {
    if (this.marked) return "submit done";
    const place = this.view.placeOf(this.target);
    if (place === undefined) return this.view.listNext();
    this.marked = true;
    return `touch ${place}/here`;
  }
}
