import { ViewingAgent } from "../viewing-agent.js";

/** Lists the directories from the root until one shows the target, counts its lines where it lies and submits the number. */
export class CountExpert extends ViewingAgent {
  private target = "";
  private count = "";

  protected override readInstruction([verb, ...operands]: readonly string[]): void {
    this.target = operands.at(-1) ?? "";
    this.count = verb === "lines" ? "wc -l" : `grep -c ${operands[0]}`;
  }

  protected override choose(): string {
    const { view, target, count } = this;
    const [line] = view.printed.get(this.action) ?? [];
    if (this.action.startsWith(count) && line !== undefined && /^\d/.test(line))
      return `submit ${parseInt(line, 10)}`;
    const [next, ...others] = view.unlisted();
    const place = view.placeOf(target);
    if (place !== undefined) return `${count} ${place}`;
    if (next === undefined) return "ls";
    // In the last directory left it needs no listing.
    const guess = `${count} ${next}/${target}`;
    return others.length > 0 || view.printed.has(guess) ? `ls ${next}` : guess;
  }
}
