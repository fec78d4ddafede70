import type { ScriptedAgent } from "../../agent/scripted-agent.js";
import { CounterRandom } from "../../random/counter-random.js";
import type { Segment } from "../../tokens/segment.js";
import { MOVES } from "./maze-map.js";

/** Share of moves that look at nothing, so that walls are met too. */
const BLIND = 0.15;

/** Mostly walks through an open direction, whichever. */
export class MazeRandomAgent implements ScriptedAgent {
  private readonly random: CounterRandom;

  constructor(seed: bigint) {
    this.random = new CounterRandom(seed);
  }

  next(answer: readonly Segment[]): string {
    const text = answer.map((segment) => segment.text).join("");
    const words = text.trimEnd().split("\n").at(-1)?.split(" ") ?? [];
    const open = MOVES.filter((move) => words.includes(move));
    return this.random.pick(this.random.next() < BLIND || open.length === 0 ? MOVES : open);
  }
}
