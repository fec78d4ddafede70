import { describe, expect, it } from "vitest";
import { CounterRandom } from "../../../lib/random/counter-random.js";
import { deriveSeed } from "../../../lib/random/derive-seed.js";
import { parseCommand } from "../../../lib/sandbox/parse-command.js";
import { findObservationFloor } from "../../../lib/tasks/tinyterm/find/find-observation-floor.js";
import type { FindTask } from "../../../lib/tasks/tinyterm/find/find-task.js";
import { generateFindTask } from "../../../lib/tasks/tinyterm/find/generate-find-task.js";
import type { TreeShape } from "../../../lib/tasks/tinyterm/tree-shape.js";
import type { TreeWorld } from "../../../lib/tasks/tinyterm/tree-world.js";
import { arrangements } from "./arrangements.js";
import { everyTree } from "./every-tree.js";
import { runSimulated, type SimulatedWorld } from "./simulated-shell.js";

const level = (directories: number, files: number) => ({ directories, files });

/** Every world of a shape: each way to give names and words from the pools to the slots. */
function* worlds(shape: TreeShape, { pools }: TreeWorld): Generator<SimulatedWorld> {
  for (const { directories, files } of everyTree(shape, pools))
    for (const words of arrangements(pools.words, files.length))
      yield { directories, files: files.map((path, i) => ({ path, word: words[i] })) };
}

const nameOf = (path: string): string => path.slice(path.lastIndexOf("/") + 1);

const decisions = new Map<string, boolean>();

function allowed(action: string, cwd: string): boolean {
  const key = `${cwd}\n${action}`;
  const known = decisions.get(key) ?? parseCommand(action, { cwd }).ok;
  decisions.set(key, known);
  return known;
}

/** What the terminal says to each of a sequence of actions; refused ones say nothing. */
function* answers(world: SimulatedWorld, actions: readonly string[]): Generator<string> {
  let cwd = "";
  for (const action of actions) {
    if (!allowed(action, cwd)) continue;
    const result = runSimulated(world, cwd, action);
    cwd = result.cwd;
    yield `${result.text}[${result.exit}] ${cwd}\n`;
  }
}

function answersAlike(world: SimulatedWorld, actions: readonly string[], said: readonly string[]): boolean {
  let turn = 0;
  for (const answer of answers(world, actions)) if (answer !== said[turn++]) return false;
  return true;
}

const tinyWorlds: Record<string, TreeWorld> = {
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
  for (const [name, world] of Object.entries(tinyWorlds))
    it(`is the share of worlds that answer alike: ${name}`, () => {
      const all = world.shapes.flatMap((shape) => {
        const list = [...worlds(shape, world)];
        return list.map((w) => ({ world: w, weight: 1 / list.length / w.files.length }));
      });
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
        const said = [...answers(truth, actions)];
        const sum = (list: typeof all): number => list.reduce((total, { weight }) => total + weight, 0);
        const alike = possible.filter((w) => answersAlike(w.world, actions, said));
        const expected = -Math.log(sum(alike) / sum(possible));
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
