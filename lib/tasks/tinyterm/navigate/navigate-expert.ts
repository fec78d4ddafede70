import { ViewingAgent } from "../viewing-agent.js";

/** Stays in the root, lists directories level by level until one shows the target, marks it by its path and submits. */
export class NavigateExpert extends ViewingAgent {
  private target = "";
  private marked = false;

  protected override readInstruction(words: readonly string[]): void {
    this.target = words.at(-1) ?? "";
  }

  protected override choose(): string {
    if (this.marked) return "submit done";
    const place = this.view.placeOf(this.target);
    if (place === undefined) return this.view.listNext();
    this.marked = true;
    return `touch ${place}/here`;
  }
}
