import { describe, expect, it } from "vitest";
import { checkScript } from "../../../lib/tasks/tinyterm/fix/check-script.js";
import type { FixTask } from "../../../lib/tasks/tinyterm/fix/fix-task.js";
import { generateFixTask } from "../../../lib/tasks/tinyterm/fix/generate-fix-task.js";
import { NAME_POOLS } from "../../../lib/tasks/tinyterm/name-pools.js";

const content = ({ files }: FixTask): string =>
  JSON.stringify([...files].sort((a, b) => (a.path < b.path ? -1 : 1)));
const draw = (split: FixTask["split"], n: number): FixTask[] =>
  Array.from({ length: n }, (_, i) => generateFixTask(split, i));
const parentOf = (path: string): string => path.slice(0, path.lastIndexOf("/"));

describe("generateFixTask", () => {
  const train = draw("train", 2400);
  const val = draw("val", 500);
  const ood = draw("ood", 500);

  it("is a pure function of split and index", () => {
    expect(generateFixTask("train", 17)).toEqual(train[17]);
    expect(train[17].id).toBe("tinyterm/fix/train/000017");
  });

  it("makes at least 2,000 distinct tasks, and no tree of train is in another split", () => {
    const distinct = new Set(train.map(content));
    expect(distinct.size).toBeGreaterThanOrEqual(2000);
    expect([...val, ...ood].filter((task) => distinct.has(content(task)))).toEqual([]);
  });

  it("keeps names and two faults at once to ood", () => {
    const names = ({ files }: FixTask): string[] =>
      files.flatMap(({ path, word }) => [...path.split("/"), word]);
    const seen = new Set(train.flatMap(names));
    for (const name of ood.flatMap(names)) expect(seen.has(name), name).toBe(false);
    const share = (tasks: FixTask[], fault: FixTask["fault"]): number =>
      tasks.filter((task) => task.fault === fault).length / tasks.length;
    for (const fault of ["bare", "misplaced", "unknown"] as const) {
      expect(Math.abs(share(train, fault) - 1 / 3)).toBeLessThan(0.04);
      expect(Math.abs(share(ood, fault) - 1 / 4)).toBeLessThan(0.08);
    }
    expect(share([...train, ...val], "twofold")).toBe(0);
    expect(Math.abs(share(ood, "twofold") - 1 / 4)).toBeLessThan(0.08);
  });

  it("breaks the script as the fault says", () => {
    for (const task of [...train, ...val, ...ood]) {
      const { target, directories, fault, difficulty, maxTurns } = task;
      const [program, path] = task.script.split(" ");
      const name = target.slice(target.lastIndexOf("/") + 1);
      expect(path.slice(path.lastIndexOf("/") + 1)).toBe(name);
      expect(task.files.map((file) => file.path)).toContain(target);
      expect(target).toContain("/");
      if (fault === "bare" || fault === "misplaced") expect(program).toBe("cat");
      else expect(["show", "open", "print"]).toContain(program);
      if (fault === "bare") expect(path).toBe(name);
      if (fault === "unknown") expect(path).toBe(target);
      if (fault === "misplaced" || fault === "twofold") {
        expect(directories).toContain(parentOf(path));
        expect(parentOf(path)).not.toBe(parentOf(target));
      }
      expect(difficulty).toBe(fault === "bare" ? 1 : fault === "misplaced" ? 2 : 3);
      expect(maxTurns).toBe(directories.length + 8);
    }
  });
});

it("checkScript knows every word by another checksum, and by nothing else", () => {
  const words = [...NAME_POOLS.find.words, ...NAME_POOLS.ood.words];
  const scripts = words.map(checkScript);
  expect(new Set(scripts).size).toBe(words.length);
  for (const [i, word] of words.entries()) {
    expect(scripts[i]).not.toMatch(new RegExp(`\\b${word}\\b`));
    expect(scripts[i].replace(/sum != \d+ /, "")).toBe(scripts[0].replace(/sum != \d+ /, ""));
  }
});
