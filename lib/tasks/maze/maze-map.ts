import type { MazeTask } from "./maze-task.js";

export type Move = "up" | "down" | "left" | "right";

export const MOVES: readonly Move[] = ["up", "down", "left", "right"];

/** Where one can go in a maze, and how far it is to the goal. */
export class MazeMap {
  /** Steps from each cell to the goal. */
  readonly distances: readonly number[];
  private readonly size: number;
  private readonly open: ReadonlySet<string>;

  constructor({ size, openings, goal }: Pick<MazeTask, "size" | "openings" | "goal">) {
    this.size = size;
    this.open = new Set(openings.flatMap(([a, b]) => [`${a} ${b}`, `${b} ${a}`]));
    const distances = new Array<number>(size * size).fill(Number.POSITIVE_INFINITY);
    distances[goal] = 0;
    for (const queue = [goal]; queue.length > 0; ) {
      const cell = queue.shift() as number;
      for (const move of MOVES) {
        const next = this.move(cell, move);
        if (next === undefined || distances[next] <= distances[cell] + 1) continue;
        distances[next] = distances[cell] + 1;
        queue.push(next);
      }
    }
    this.distances = distances;
  }

  /** The cell a move leads to; undefined when a wall is in the way. */
  move(cell: number, move: Move): number | undefined {
    const next = cell + { up: -this.size, down: this.size, left: -1, right: 1 }[move];
    return this.open.has(`${cell} ${next}`) ? next : undefined;
  }

  /** What the agent reads in a cell: the open directions, then the distance to the goal. */
  view(cell: number): string {
    const open = MOVES.filter((move) => this.move(cell, move) !== undefined);
    return `${[...open, this.distances[cell]].join(" ")}\n`;
  }
}
