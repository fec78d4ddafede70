import { describe, expect, it } from "vitest";
import { taskFamily } from "../../../lib/tasks/task-families.js";
import { filesCommandProblem } from "../../../lib/tasks/tinyterm/files/files-command-problem.js";
import type { FilesTask } from "../../../lib/tasks/tinyterm/files/files-task.js";
import { generateFilesTask } from "../../../lib/tasks/tinyterm/files/generate-files-task.js";
import { generateNavigateTask } from "../../../lib/tasks/tinyterm/navigate/generate-navigate-task.js";
import { navigateCommandProblem } from "../../../lib/tasks/tinyterm/navigate/navigate-command-problem.js";
import type { NavigateTask } from "../../../lib/tasks/tinyterm/navigate/navigate-task.js";

const nameOf = (path: string): string => path.slice(path.lastIndexOf("/") + 1);
const parentOf = (path: string): string => path.slice(0, Math.max(0, path.lastIndexOf("/")));
const content = ({ instruction, files }: FilesTask | NavigateTask): string =>
  JSON.stringify([instruction, [...files].sort((a, b) => (a.path < b.path ? -1 : 1))]);

describe.each([
  { name: "tinyterm/navigate", generate: generateNavigateTask },
  { name: "tinyterm/files", generate: generateFilesTask },
])("tasks of $name", ({ name, generate }) => {
  const [train, val, ood] = (
    [
      ["train", 2500],
      ["val", 600],
      ["ood", 600],
    ] as const
  ).map(([split, count]) => Array.from({ length: count }, (_, i) => generate(split, i)));

  it("are pure functions of split and index", () => {
    expect(generate("train", 17)).toEqual(train[17]);
    expect(train[17]).toMatchObject({ id: `${name}/train/000017`, family: name, split: "train" });
    const family = taskFamily(name);
    expect(family.task("val", 5)).toEqual(val[5]);
    expect([family.size("train"), family.size("val"), family.size("ood")]).toEqual([4096, 1024, 1024]);
  });

  it("are 2,000 and more, and no two splits share one", () => {
    const distinct = new Set(train.map(content));
    expect(distinct.size).toBeGreaterThanOrEqual(2000);
    expect([...val, ...ood].filter((task) => distinct.has(content(task)))).toEqual([]);
    const seen = new Set(train.flatMap((task) => task.files.flatMap(({ path }) => path.split("/"))));
    for (const { files, instruction } of ood)
      for (const word of [
        ...files.flatMap(({ path }) => path.split("/")),
        ...instruction.split(/[ /]/).slice(1),
      ])
        expect(seen.has(word), word).toBe(false);
  });

  it("are graded by the size of their tree, every directory of which comes with a file", () => {
    for (const tasks of [train, val])
      expect(new Set(tasks.map((task) => task.difficulty))).toEqual(new Set([1, 2, 3]));
    for (const { difficulty = 0, directories, files } of [...train, ...ood]) {
      const entries = directories.length + files.length;
      expect(difficulty).toBe(entries <= 5 ? 1 : entries <= 8 ? 2 : 3);
      for (const directory of directories)
        expect(
          files.some(({ path }) => path.startsWith(`${directory}/`)),
          directory,
        ).toBe(true);
    }
  });
});

describe("generateNavigateTask", () => {
  it("names a directory of the tree, at every depth, deeper in ood", () => {
    const depths = (split: "train" | "ood"): Set<number> =>
      new Set(
        Array.from({ length: 300 }, (_, i) => {
          const { target, directories, instruction } = generateNavigateTask(split, i);
          expect(directories).toContain(target);
          expect(instruction).toBe(`mark ${nameOf(target)}`);
          return target.split("/").length;
        }),
      );
    expect(depths("train")).toEqual(new Set([1, 2]));
    expect(depths("ood")).toEqual(new Set([1, 2, 3]));
  });
});

describe("generateFilesTask", () => {
  it("asks for what is possible and not yet so, and holds one kind back for ood", () => {
    const kinds = { train: new Set<string>(), ood: new Set<string>() };
    for (const split of ["train", "ood"] as const)
      for (let i = 0; i < 300; i++) {
        const { kind, source, target, files, directories, instruction } = generateFilesTask(split, i);
        kinds[split].add(kind);
        const paths = files.map(({ path }) => path);
        expect(paths).toContain(source);
        expect(paths).not.toContain(target);
        expect(directories).toContain(parentOf(target));
        const isNew = kind === "rename" || kind === "move-as";
        if (isNew) expect(paths.map(nameOf)).not.toContain(nameOf(target));
        else expect(nameOf(target)).toBe(nameOf(source));
        expect(parentOf(source) === parentOf(target)).toBe(kind === "rename");
        const goal = {
          move: nameOf(parentOf(target)),
          copy: nameOf(parentOf(target)),
          rename: nameOf(target),
          "move-as": `${nameOf(parentOf(target))}/${nameOf(target)}`,
        };
        expect(instruction).toBe(`${kind.replace("-as", "")} ${nameOf(source)} ${goal[kind]}`);
      }
    expect(kinds.train).toEqual(new Set(["move", "copy", "rename"]));
    expect(kinds.ood).toEqual(new Set(["move", "copy", "rename", "move-as"]));
  });

  it("draws files and directories evenly, as the floor assumes", () => {
    const counts = new Map<string, number>();
    for (let i = 0; i < 4000; i++) {
      const { kind, source, target } = generateFilesTask("train", i);
      if (kind === "rename") continue;
      const key = `${nameOf(source)} ${nameOf(parentOf(target))}`;
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    const total = [...counts.values()].reduce((a, b) => a + b, 0);
    const expected = total / (16 * 12);
    const chiSquared = [...counts.values()].reduce((sum, n) => sum + (n - expected) ** 2 / expected, 0);
    expect(counts.size).toBe(16 * 12);
    expect(chiSquared).toBeLessThan(191 + 4 * Math.sqrt(2 * 191));
  });
});

describe("the commands of the families", () => {
  it("are those of find and few more", () => {
    for (const action of ["ls elm", "cd ..", "cat fig", "find", "pwd", "submit done"])
      for (const problem of [navigateCommandProblem, filesCommandProblem])
        expect(problem(action), action).toBeUndefined();
    for (const action of [
      "ls -a",
      "ls | sort",
      "ls > out",
      "rm fig",
      "mkdir elm",
      "echo red",
      "cat",
      "head fig",
    ])
      for (const problem of [navigateCommandProblem, filesCommandProblem])
        expect(problem(action), action).toBe("not allowed");
    for (const action of ["touch here", "touch elm/here", "touch ../here elm/fir/here"])
      expect([navigateCommandProblem(action), filesCommandProblem(action)]).toEqual([
        undefined,
        "not allowed",
      ]);
    for (const action of [
      "touch fig",
      "touch here fig",
      "touch here/fig",
      "touch nowhere",
      "touch here > here",
    ])
      expect(navigateCommandProblem(action), action).toBe("not allowed");
    for (const action of ["mv fig elm", "cp elm/fig ..", "mv fig plum"])
      expect([navigateCommandProblem(action), filesCommandProblem(action)]).toEqual([
        "not allowed",
        undefined,
      ]);
    for (const action of ["mv fig", "mv fig pea elm", "cp -r elm oak", "cp fig > out", "mv fig elm | cat"])
      expect(filesCommandProblem(action), action).toBe("not allowed");
  });
});
