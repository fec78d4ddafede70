import { describe, expect, it } from "vitest";
import { MazeEnvironment } from "../../lib/environments/maze-environment.js";
import { MazeExpert } from "../../lib/tasks/maze/maze-expert.js";
import type { MazeTask } from "../../lib/tasks/maze/maze-task.js";
import { environmentConformance } from "../conformance/environment-conformance.js";

/**
 *     0   1 - 2
 *     |   |   |
 *     3 - 4   5
 *         |
 *     6 - 7 - 8     from 5 to 6
 */
const task: MazeTask = {
  id: "maze/train/000000",
  family: "maze",
  split: "train",
  instruction: "maze 3 by 3",
  maxTurns: 20,
  size: 3,
  openings: [
    [0, 3],
    [1, 2],
    [1, 4],
    [2, 5],
    [3, 4],
    [4, 7],
    [6, 7],
    [7, 8],
  ],
  start: 5,
  goal: 6,
};

describe("MazeEnvironment", () => {
  environmentConformance(() => ({
    create: () => new MazeEnvironment(task),
    expert: () => new MazeExpert(),
    harmless: ["up", "right", "left", "down"],
    refused: ["", "north", "up up", "UP", "submit up"],
    maxTurns: 20,
  }));

  it("says what is open and how far it is", async () => {
    const environment = new MazeEnvironment(task);
    const heard = [(await environment.reset())[0].text];
    for (const action of ["down", "up", "left", "down", "left", "right", "down", "left"]) {
      const { segments, done } = await environment.step(action);
      heard.push(segments[0].text);
      expect(done).toBe(heard.length === 9);
    }
    expect(heard).toEqual([
      "maze 3 by 3\nup 5\n",
      "wall up 5\n",
      "down left 4\n",
      "down right 3\n",
      "up down left 2\n",
      "up right 3\n",
      "up down left 2\n",
      "up left right 1\n",
      "right 0\n",
    ]);
    expect(await environment.score()).toBe(1);
  });
});
