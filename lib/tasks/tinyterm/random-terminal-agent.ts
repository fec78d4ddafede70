import { CounterRandom } from "../../random/counter-random.js";
import type { TerminalView } from "./terminal-view.js";
import { ViewingAgent } from "./viewing-agent.js";

/** A kind of command, how often it is chosen, and its operands: one is drawn evenly; without any the command is not a choice. */
export interface CommandHabit {
  weight: number;
  commands(view: TerminalView): readonly string[];
}

/** Writes commands that make sense one by one and follow no plan. */
export class RandomTerminalAgent extends ViewingAgent {
  private readonly random: CounterRandom;
  private readonly habits: readonly CommandHabit[];

  constructor(habits: readonly CommandHabit[], seed: bigint) {
    super();
    this.habits = habits;
    this.random = new CounterRandom(seed);
  }

  protected override choose(): string {
    const choices = this.habits
      .map(({ weight, commands }) => ({ weight, commands: commands(this.view) }))
      .filter((choice) => choice.commands.length > 0);
    let ticket = this.random.next() * choices.reduce((sum, { weight }) => sum + weight, 0);
    const chosen = choices.find(({ weight }) => {
      ticket -= weight;
      return ticket < 0;
    });
    return this.random.pick((chosen ?? choices[choices.length - 1]).commands);
  }
}
