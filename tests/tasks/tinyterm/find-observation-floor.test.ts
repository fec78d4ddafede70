import { describe, expect, it } from "vitest";
import { CounterRandom } from "../../../lib/random/counter-random.js";
import { deriveSeed } from "../../../lib/random/derive-seed.js";
import { findObservationFloor } from "../../../lib/tasks/tinyterm/find/find-observation-floor.js";
import type { FindTask } from "../../../lib/tasks/tinyterm/find/find-task.js";
import { generateFindTask } from "../../../lib/tasks/tinyterm/find/generate-find-task.js";
import type { TreeWorld } from "../../../lib/tasks/tinyterm/tree-world.js";
import { bruteForceFloor, level, tinyWorlds } from "./brute-force-floor.js";

const nameOf = (path: string): string => path.slice(path.lastIndexOf("/") + 1);

const WORLDS: Record<string, TreeWorld> = {
  "flat and nested": {
    pools: { directories: ["elm", "oak", "yew"], files: ["fig", "pea", "rye"], words: ["red", "tin"] },
    shapes: [
      [level(2, 0), level(0, 1)],
      [level(1, 1), level(0, 1)],
      [level(1, 0), level(1, 0), level(0, 2)],
    ],
  },
  "two files a directory": {
    pools: {
      directories: ["elm", "oak", "yew"],
      files: ["fig", "pea", "rye", "oat"],
      words: ["red", "tin", "jade", "blue"],
    },
    shapes: [
      [level(2, 0), level(0, 2)],
      [level(3, 0), level(0, 1)],
    ],
  },
};

describe("findObservationFloor", () => {
  for (const [name, world] of Object.entries(WORLDS))
    it(`is the share of worlds that answer alike: ${name}`, () => {
      const all = tinyWorlds(world).map((w) => ({ ...w, weight: w.weight / w.world.files.length }));
      const random = new CounterRandom(deriveSeed(5, `floor/${name}`));
      const { directories, files } = world.pools;
      let ambiguous = 0;
      for (let round = 0; round < 15; round++) {
        const truth = random.pick(all).world;
        const target = nameOf(random.pick(truth.files).path);
        const any = (): string => random.pick([...directories, ...files, "..", ".", "red", "nothing"]);
        const path = (): string =>
          Array.from({ length: 1 + random.integer(random.integer(3) + 1) }, any).join("/");
        const actions = Array.from({ length: 1 + random.integer(7) }, () => {
          const program = random.pick(["cd", "cd", "ls", "cat", "cat", "find"]);
          const count =
            program === "cd" ? 1 : random.integer(random.integer(3) + 1) + (program === "cat" ? 1 : 0);
          return [program, ...Array.from({ length: count }, path)].join(" ");
        });
        ambiguous += actions.filter((action) => action.includes("/")).length;
        const possible = all.filter((w) => w.world.files.some((file) => nameOf(file.path) === target));
        const expected = bruteForceFloor(possible, truth, actions);
        const task = { ...truth, target, split: "train" } as unknown as FindTask;
        expect(
          findObservationFloor(task, actions, world),
          JSON.stringify({ truth, target, actions }),
        ).toBeCloseTo(expected, 9);
      }
      expect(ambiguous).toBeGreaterThan(12);
    });

  it("charges each discovery once", () => {
    const task = generateFindTask("train", 0);
    const floor = (...actions: string[]): number => findObservationFloor(task, actions);
    const [first] = task.directories;
    expect(floor()).toBe(0);
    expect(floor("pwd", "cd ..", "rm fig", "cat", "ls | sort", "ls -a", "nonsense")).toBe(0);
    const listed = floor("ls");
    expect(listed).toBeGreaterThan(Math.log((12 * 11) / 2));
    expect(floor("ls", "ls", `cd ${first}`, "cd ..", "ls")).toBeCloseTo(listed, 12);
    const { path } = task.files.find((file) => nameOf(file.path) === task.target) ?? { path: "" };
    expect(floor("find", `cat ${path}`) - floor("find")).toBeCloseTo(Math.log(16), 9);
    expect(floor("find", `cat ${path}`, `cat ${path}`, `submit ${task.answer}`, "ls nothing")).toBeCloseTo(
      floor("find", `cat ${path}`),
      12,
    );
  });
});
