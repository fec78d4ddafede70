import type { Task } from "../task.js";

/** A way through a grid of cells, numbered row by row. */
export interface MazeTask extends Task {
  /** Cells a side. */
  size: number;
  /** Pairs of neighbouring cells with no wall between them, smaller number first. */
  openings: [number, number][];
  start: number;
  goal: number;
}
