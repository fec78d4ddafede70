import { describe, expect, it } from "vitest";
import { generateMazeTask } from "../../../lib/tasks/maze/generate-maze-task.js";
import { MazeMap, MOVES } from "../../../lib/tasks/maze/maze-map.js";
import type { Task } from "../../../lib/tasks/task.js";
import { taskFamily } from "../../../lib/tasks/task-families.js";
import type { TaskFamily } from "../../../lib/tasks/task-family.js";
import { Tokenizer } from "../../../lib/tokens/tokenizer.js";

/** Share of the first tasks of a split that an agent solves. */
async function solved(
  family: TaskFamily,
  split: Task["split"],
  tasks: number,
  kind: "expert" | "random",
): Promise<number> {
  let count = 0;
  for (let i = 0; i < tasks; i++) {
    const task = family.task(split, i);
    const environment = family.createEnvironment(task, undefined as never);
    const agent = kind === "expert" ? family.createExpert(task) : family.createRandomAgent(task, BigInt(i));
    let answer = await environment.reset();
    for (let turn = 0; turn < task.maxTurns; turn++) {
      const step = await environment.step(agent.next(answer));
      answer = step.segments;
      if (step.done) break;
    }
    count += await environment.score();
  }
  return count / tasks;
}

describe("mazes", () => {
  it("connect every cell, with distances that are shortest", () => {
    for (let i = 0; i < 60; i++) {
      const { size, openings, goal, start, maxTurns } = generateMazeTask("maze", [3, 8], "train", i);
      const cells = size * size;
      expect(openings.length).toBeGreaterThanOrEqual(cells - 1);
      // Floyd and Warshall, as an independent reference.
      const far = Array.from({ length: cells }, (_, a) =>
        Array.from({ length: cells }, (_, b) => (a === b ? 0 : Infinity)),
      );
      for (const [a, b] of openings) {
        expect(b - a === size || (b - a === 1 && b % size !== 0)).toBe(true);
        far[a][b] = far[b][a] = 1;
      }
      for (let k = 0; k < cells; k++)
        for (let a = 0; a < cells; a++)
          for (let b = 0; b < cells; b++) far[a][b] = Math.min(far[a][b], far[a][k] + far[k][b]);
      expect(new MazeMap({ size, openings, goal }).distances).toEqual(far[goal]);
      expect(Math.max(...far[goal])).toBeLessThan(Infinity);
      expect(far[start][goal]).toBeGreaterThanOrEqual(2);
      expect(maxTurns).toBe(2 * far[start][goal] + 6);
    }
  });

  it("are pure functions of split and index, of the asked sizes, and no maze is in two splits", () => {
    const content = ({ size, openings, start, goal }: ReturnType<typeof generateMazeTask>): string =>
      JSON.stringify([size, openings, start, goal]);
    const splits = (["train", "val", "ood"] as const).map((split) =>
      Array.from({ length: 700 }, (_, i) => generateMazeTask("maze", [3, 4], split, i)),
    );
    for (const tasks of splits) {
      expect(new Set(tasks.map(({ size }) => size))).toEqual(new Set([3, 4]));
      const others = new Set(
        splits.filter((other) => other !== tasks).flatMap((other) => other.map(content)),
      );
      expect(tasks.filter((task) => others.has(content(task)))).toEqual([]);
    }
    expect(generateMazeTask("maze", [3, 4], "val", 5)).toEqual(splits[1][5]);
  });

  it("are mostly solved by the expert and seldom by chance", async () => {
    for (const split of ["train", "ood"] as const)
      expect(await solved(taskFamily("maze"), split, 150, "expert")).toBeGreaterThanOrEqual(0.95);
    const chance = await solved(taskFamily("maze"), "train", 150, "random");
    expect(chance).toBeGreaterThan(0.1);
    expect(chance).toBeLessThan(0.35);
  });

  it("are told in few tokens", () => {
    const tokenizer = Tokenizer.fromDirectory(taskFamily("maze").tokenizer);
    expect(tokenizer.encodeText("wall up down left right 63\n")).toHaveLength(7);
    for (const move of MOVES) expect(tokenizer.encodeText(move)).toHaveLength(1);
    expect(tokenizer.encodeText("maze 8 by 8\nup left 12\n")).toHaveLength(9);
  });

  it("claim no floor", () => {
    const family = taskFamily("maze");
    expect(family.observationFloor(family.task("val", 0), ["up", "down"])).toBe(0);
  });
});

describe("taskFamily", () => {
  it("knows the families by name", () => {
    for (const name of ["tinyterm/find", "tinyterm/visit", "maze", "maze/3-4", "maze/8-8"])
      expect(taskFamily(name).name).toBe(name);
    const sizes = new Set(
      Array.from({ length: 60 }, (_, i) => taskFamily("maze/5-6").task("ood", i).instruction),
    );
    expect(sizes).toEqual(new Set(["maze 5 by 5", "maze 6 by 6"]));
  });

  it("refuses other names", () => {
    for (const name of ["", "tinyterm/", "maze/", "maze/6-5", "maze/2-3", "maze/3-9"])
      expect(() => taskFamily(name)).toThrow(expect.objectContaining({ code: "ERR_CONFIG" }));
  });
});
