import type { ScriptedAgent } from "../../agent/scripted-agent.js";
import type { Segment } from "../../tokens/segment.js";
import { MOVES, type Move } from "./maze-map.js";

const STEP: Readonly<Record<Move, readonly [number, number]>> = {
  up: [0, -1],
  down: [0, 1],
  left: [-1, 0],
  right: [1, 0],
};

/**
 * Follows falling distances with a memory of the cells it saw: where a known neighbour is nearer it goes there, otherwise it tries an
 * unknown one, and steps back from a mistake. Neighbours differ by exactly one step, so some neighbour is always nearer.
 */
export class MazeExpert implements ScriptedAgent {
  private readonly distances = new Map<string, number>();
  private at: [number, number] = [0, 0];
  private move: Move | undefined;

  next(answer: readonly Segment[]): string {
    const line =
      answer
        .map((segment) => segment.text)
        .join("")
        .trimEnd()
        .split("\n")
        .at(-1) ?? "";
    const words = line.split(" ");
    if (this.move !== undefined && words[0] !== "wall") this.at = this.beyond(this.move);
    const here = Number(words.at(-1));
    this.distances.set(this.at.join(), here);
    const open = MOVES.filter((move) => words.includes(move));
    const known = (move: Move): number | undefined => this.distances.get(this.beyond(move).join());
    this.move =
      open.find((move) => known(move) === here - 1) ??
      open.find((move) => known(move) === undefined) ??
      open[0];
    return this.move;
  }

  private beyond(move: Move): [number, number] {
    return [this.at[0] + STEP[move][0], this.at[1] + STEP[move][1]];
  }
}
