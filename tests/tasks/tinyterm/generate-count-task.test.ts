import { describe, expect, it } from "vitest";
import type { CountTask } from "../../../lib/tasks/tinyterm/count/count-task.js";
import { generateCountTask } from "../../../lib/tasks/tinyterm/count/generate-count-task.js";

const content = ({ instruction, files }: CountTask): string =>
  JSON.stringify([instruction, [...files].sort((a, b) => (a.path < b.path ? -1 : 1))]);
const draw = (split: CountTask["split"], n: number): CountTask[] =>
  Array.from({ length: n }, (_, i) => generateCountTask(split, i));

describe("generateCountTask", () => {
  const train = draw("train", 2400);
  const val = draw("val", 500);
  const ood = draw("ood", 500);

  it("is a pure function of split and index", () => {
    expect(generateCountTask("train", 17)).toEqual(train[17]);
    expect(train[17].id).toBe("tinyterm/count/train/000017");
  });

  it("makes at least 2,000 distinct tasks, and no task of train is in another split", () => {
    const distinct = new Set(train.map(content));
    expect(distinct.size).toBeGreaterThanOrEqual(2000);
    expect([...val, ...ood].filter((task) => distinct.has(content(task)))).toEqual([]);
  });

  it("keeps the names of ood to itself, and its trees are deeper or wider", () => {
    const names = ({ files }: CountTask): string[] =>
      files.flatMap(({ path, lines }) => [...path.split("/"), ...lines]);
    const seen = new Set(train.flatMap(names));
    for (const name of ood.flatMap(names)) expect(seen.has(name), name).toBe(false);
    expect(Math.max(...train.map(({ directories }) => directories.length))).toBe(3);
    for (const { directories } of ood) expect(directories.length).toBeGreaterThan(3);
  });

  it("asks for a number that is right, of a file that is there once, and grades the task", () => {
    for (const task of [...train.slice(0, 400), ...val, ...ood]) {
      const named = task.files.filter(({ path }) => path.split("/").at(-1) === task.target);
      expect(named).toHaveLength(1);
      const [{ lines }] = named;
      const { word, target, answer } = task;
      expect(task.instruction).toBe(word === undefined ? `lines ${target}` : `count ${word} ${target}`);
      expect(answer).toBe(lines.filter((line) => word === undefined || line === word).length);
      if (task.split !== "ood") expect(answer).toBeGreaterThan(0);
      expect(task.maxTurns).toBe(task.directories.length + 7);
    }
    expect(new Set(train.map(({ difficulty }) => difficulty))).toEqual(new Set([1, 2, 3]));
  });

  it("draws words without replacement and their numbers evenly, as the floor assumes", () => {
    const even = (values: readonly unknown[], kinds: number): void => {
      const counts = new Map<unknown, number>();
      for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
      expect(counts.size).toBe(kinds);
      const expected = values.length / kinds;
      const chiSquared = [...counts.values()].reduce((sum, n) => sum + (n - expected) ** 2 / expected, 0);
      // Mean kinds - 1, variance twice that: four deviations.
      expect(chiSquared).toBeLessThan(kinds - 1 + 4 * Math.sqrt(2 * (kinds - 1)));
    };
    for (const { files } of [...train, ...ood]) {
      const words = files.flatMap(({ lines }) => [...new Set(lines)]);
      expect(new Set(words).size).toBe(words.length);
      for (const { lines } of files) expect(new Set(lines).size).toBeLessThanOrEqual(2);
    }
    const counting = train.filter(({ word }) => word !== undefined);
    expect(Math.abs(counting.length / train.length - 0.5)).toBeLessThan(0.04);
    even(
      counting.map(({ answer }) => answer),
      4,
    );
    even(
      counting.map(({ word }) => word),
      16,
    );
    even(
      train.map(({ target }) => target),
      16,
    );
    // Of two and two lines, each of the six orders is as likely.
    const twos = train
      .flatMap(({ files }) => files.map(({ lines }) => lines))
      .filter((lines) => lines.length === 4 && lines.filter((line) => line === lines[0]).length === 2);
    even(
      twos.map((lines) => lines.map((line) => (lines.some((other) => other < line) ? 1 : 0)).join("")),
      6,
    );
  });
});
