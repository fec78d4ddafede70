import type { ScriptedAgent } from "../../agent/scripted-agent.js";
import type { Segment } from "../../tokens/segment.js";
import { TerminalView } from "./terminal-view.js";

/** A scripted agent that knows its instruction and what the terminal has shown it. */
export abstract class ViewingAgent implements ScriptedAgent {
  protected readonly view = new TerminalView();
  /** What it wrote last; "" before its first action. */
  protected action = "";

  next(answer: readonly Segment[]): string {
    if (this.action === "") this.readInstruction((answer[0]?.text ?? "").split(" "));
    else this.view.update(this.action, answer);
    this.action = this.choose();
    return this.action;
  }

  /** Told the words of the instruction, before the first action. */
  protected readInstruction(_words: readonly string[]): void {}

  /** The next action. */
  protected abstract choose(): string;
}
