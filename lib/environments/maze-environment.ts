import { TaskError } from "../errors/task-error.js";
import { MazeMap, MOVES } from "../tasks/maze/maze-map.js";
import type { MazeTask } from "../tasks/maze/maze-task.js";
import type { Segment } from "../tokens/segment.js";
import type { Environment } from "./environment.js";
import type { EnvironmentStep } from "./environment-step.js";
import { tidyAction } from "./tidy-action.js";
import { warningBlock } from "./warning-block.js";

/**
 * A maze, in process. An action is one of up, down, left, right; the answer names the open directions of the cell reached and its
 * distance to the goal: `up right 7`; `wall` comes before it when the move led nowhere. At the goal the episode ends, solved.
 */
export class MazeEnvironment implements Environment {
  private readonly task: MazeTask;
  private readonly map: MazeMap;
  private cell: number | undefined;

  constructor(task: MazeTask) {
    this.task = task;
    this.map = new MazeMap(task);
  }

  async reset(): Promise<Segment[]> {
    this.cell = this.task.start;
    return [{ text: `${this.task.instruction}\n${this.map.view(this.cell)}`, role: "context" }];
  }

  async step(actionText: string): Promise<EnvironmentStep> {
    const cell = this.placed("step");
    const { text: name, warnings } = tidyAction(actionText);
    const move = MOVES.find((each) => each === name);
    if (!move)
      return {
        segments: [{ text: "not a move\n", role: "warning" }],
        done: false,
        exact: true,
        form: "refused",
      };
    const next = this.map.move(cell, move);
    this.cell = next ?? cell;
    const text = `${next === undefined ? "wall " : ""}${this.map.view(this.cell)}`;
    return {
      segments: [...warningBlock(warnings), { text, role: "observation" }],
      done: this.cell === this.task.goal,
      exact: true,
      form: warnings.length > 0 ? "untidy" : "clean",
    };
  }

  async score(): Promise<number> {
    return this.placed("score") === this.task.goal ? 1 : 0;
  }

  async dispose(): Promise<void> {
    this.cell = undefined;
  }

  private placed(method: string): number {
    if (this.cell !== undefined) return this.cell;
    throw new TaskError(
      "ERR_TASK",
      `[MazeEnvironment.${method}] nobody is in the maze yet: expected reset first.`,
    );
  }
}
