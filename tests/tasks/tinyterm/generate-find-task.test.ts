import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { FIND_WORLDS } from "../../../lib/tasks/tinyterm/find/find-world.js";
import { generateFindTask } from "../../../lib/tasks/tinyterm/find/generate-find-task.js";
import { NAME_POOLS } from "../../../lib/tasks/tinyterm/name-pools.js";

const content = (task: ReturnType<typeof generateFindTask>): string =>
  JSON.stringify([task.instruction, [...task.files].sort((a, b) => (a.path < b.path ? -1 : 1))]);

describe("generateFindTask", () => {
  const train = Array.from({ length: 2500 }, (_, i) => generateFindTask("train", i));
  const val = Array.from({ length: 600 }, (_, i) => generateFindTask("val", i));

  it("is a pure function of split and index", () => {
    expect(generateFindTask("train", 17)).toEqual(train[17]);
    expect(train[17].id).toBe("tinyterm/find/train/000017");
    expect(content(train[17])).not.toBe(content(generateFindTask("val", 17)));
  });

  it("makes the tasks that policies were trained on", () => {
    const hash = createHash("sha256");
    for (let i = 0; i < 1024; i++) {
      const { difficulty: _, ...task } = generateFindTask("ood", i);
      hash.update(JSON.stringify(task));
    }
    expect(hash.digest("hex")).toBe("a86b2c1950e53de89713871e41e9aee717555d3fbca584487fda10e52df69f62");
  });

  it("grades them", () => {
    for (const tasks of [train, val])
      expect(new Set(tasks.map((task) => task.difficulty))).toEqual(new Set([1, 2, 3]));
    for (const { difficulty, directories } of train) expect(difficulty === 3).toBe(directories.length === 3);
  });

  it("makes at least 2,000 distinct tasks, and no task of train is in val", () => {
    const distinct = new Set(train.map(content));
    expect(distinct.size).toBeGreaterThanOrEqual(2000);
    expect(val.filter((task) => distinct.has(content(task)))).toEqual([]);
  });

  it("keeps the names of ood to itself", () => {
    const seen = new Set(
      train.flatMap((task) => task.files.flatMap(({ path, word }) => [...path.split("/"), word])),
    );
    for (let i = 0; i < 200; i++)
      for (const { path, word } of generateFindTask("ood", i).files)
        for (const name of [...path.split("/"), word]) expect(seen.has(name), name).toBe(false);
  });

  it("asks for a file that is there, once, and whose word no other file holds", () => {
    for (const task of [...train.slice(0, 300), ...val]) {
      const named = task.files.filter(({ path }) => path.split("/").at(-1) === task.target);
      expect(named.map(({ word }) => word)).toEqual([task.answer]);
      expect(task.files.filter(({ word }) => word === task.answer)).toHaveLength(1);
      expect(task.instruction).toBe(`read ${task.target}`);
      expect(task.instruction).not.toContain(task.answer);
      for (const { path } of task.files)
        expect(task.directories).toContain(path.split("/").slice(0, -1).join("/"));
      expect(task.maxTurns).toBe(3 * task.directories.length + 3);
    }
  });

  it("draws shapes, places and names evenly, as the floor assumes", () => {
    const tally = (values: readonly string[]): Map<string, number> => {
      const counts = new Map<string, number>();
      for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
      return counts;
    };
    const even = (values: readonly string[], kinds: number): void => {
      const counts = tally(values);
      expect(counts.size).toBe(kinds);
      const expected = values.length / kinds;
      const chiSquared = [...counts.values()].reduce((sum, n) => sum + (n - expected) ** 2 / expected, 0);
      // Mean kinds - 1, variance twice that: four deviations.
      expect(chiSquared).toBeLessThan(kinds - 1 + 4 * Math.sqrt(2 * (kinds - 1)));
    };
    even(
      train.map((task) => `${task.directories.length} ${task.files.length}`),
      FIND_WORLDS.train.shapes.length,
    );
    even(
      train.map((task) => task.target),
      NAME_POOLS.find.files.length,
    );
    even(
      train.map((task) => task.answer),
      NAME_POOLS.find.words.length,
    );
    even(
      train.map((task) => task.directories[1]),
      NAME_POOLS.find.directories.length,
    );
    const wide = train.filter((task) => task.files.length === 6);
    even(
      wide.map((task) => String(task.files.findIndex(({ word }) => word === task.answer))),
      6,
    );
  });
});
