import { describe, expect, it } from "vitest";
import { CounterRandom } from "../../../lib/random/counter-random.js";
import { deriveSeed } from "../../../lib/random/derive-seed.js";
import { parseCommand } from "../../../lib/sandbox/parse-command.js";
import { countCommandProblem } from "../../../lib/tasks/tinyterm/count/count-command-problem.js";
import { countObservationFloor } from "../../../lib/tasks/tinyterm/count/count-observation-floor.js";
import type { CountTask } from "../../../lib/tasks/tinyterm/count/count-task.js";
import type { CountWorld } from "../../../lib/tasks/tinyterm/count/count-world.js";
import { generateCountTask } from "../../../lib/tasks/tinyterm/count/generate-count-task.js";
import { arrangements } from "./arrangements.js";
import { everyTree } from "./every-tree.js";
import { runSimulated } from "./simulated-shell.js";

const level = (directories: number, files: number) => ({ directories, files });
const nameOf = (path: string): string => path.slice(path.lastIndexOf("/") + 1);

type World = Pick<CountTask, "directories" | "files">;
interface Possibility {
  world: World;
  target: string;
  word?: string;
  weight: number;
}

/** Different orders of the same lines, each once. */
function orders(lines: readonly string[]): string[][] {
  const all = new Map(
    [...arrangements([...lines.keys()], lines.length)].map((order) => [
      order.map((i) => lines[i]).join(),
      order,
    ]),
  );
  return [...all.values()].map((order) => order.map((i) => lines[i]));
}

/** Every task that the generator may make, with its probability: written anew, draw by draw. */
function* everyTask(world: CountWorld): Generator<Possibility> {
  const { pools, shapes, mostOfFirst, mostOfSecond, anyWord } = world;
  for (const shape of shapes) {
    const trees = [...everyTree(shape, pools)];
    for (const { directories, files: paths } of trees) {
      const words = [...arrangements(pools.words, 2 * paths.length)];
      for (const drawn of words) {
        const fill = function* (index: number): Generator<{ lines: string[][]; weight: number }> {
          if (index === paths.length) return yield { lines: [], weight: 1 };
          const [first, second] = drawn.slice(2 * index);
          for (const rest of fill(index + 1))
            for (let k = 1; k <= mostOfFirst; k++)
              for (let m = 0; m <= mostOfSecond; m++) {
                const choices = orders([...Array(k).fill(first), ...Array(m).fill(second)] as string[]);
                const weight = rest.weight / mostOfFirst / (mostOfSecond + 1) / choices.length;
                for (const lines of choices) yield { lines: [lines, ...rest.lines], weight };
              }
        };
        for (const { lines, weight: contents } of fill(0)) {
          const files = paths.map((path, i) => ({ path, lines: lines[i] }));
          const base = contents / shapes.length / trees.length / words.length / paths.length / 2;
          for (const [i, path] of paths.entries()) {
            const target = nameOf(path);
            const asked = anyWord ? drawn.slice(2 * i, 2 * i + 2) : [drawn[2 * i]];
            yield { world: { directories, files }, target, weight: base };
            for (const word of asked)
              yield { world: { directories, files }, target, word, weight: base / asked.length };
          }
        }
      }
    }
  }
}

const decisions = new Map<string, boolean>();

function allowed(action: string, cwd: string): boolean {
  const key = `${cwd}\n${action}`;
  const known = decisions.get(key) ?? (parseCommand(action, { cwd }).ok && !countCommandProblem(action));
  decisions.set(key, known);
  return known;
}

const shells = new WeakMap<World, Parameters<typeof runSimulated>[0]>();

/** What the terminal says: `grep` and `wc` find their file as `cat` does. */
function* answers(world: World, actions: readonly string[]): Generator<string> {
  const shell = shells.get(world) ?? {
    directories: world.directories,
    files: world.files.map(({ path, lines }) => ({ path, word: lines.join("\n") })),
  };
  shells.set(world, shell);
  let cwd = "";
  for (const action of actions) {
    if (!allowed(action, cwd)) continue;
    const [program, ...words] = action.split(" ");
    const operands = words.filter((word) => !word.startsWith("-"));
    const counts = program === "grep" || program === "wc";
    const result = runSimulated(shell, cwd, counts ? `cat ${operands.at(-1)}` : action);
    cwd = result.cwd;
    if (!counts || result.exit !== 0) yield `${result.text}[${result.exit}] ${cwd}\n`;
    else {
      const fits = new RegExp(program === "grep" ? operands[0] : "");
      const found = result.text
        .split("\n")
        .slice(0, -1)
        .filter((line) => fits.test(line));
      yield action.startsWith("grep") && !action.includes("-c") ? found.join("\n") : String(found.length);
    }
  }
}

const tinyWorlds: Record<string, CountWorld> = {
  "its first word": {
    pools: {
      directories: ["elm", "oak"],
      files: ["fig", "pea", "rye"],
      words: ["red", "tin", "jade", "blue"],
    },
    shapes: [
      [level(2, 0), level(0, 1)],
      [level(1, 0), level(0, 1)],
    ],
    mostOfFirst: 2,
    mostOfSecond: 1,
    anyWord: false,
  },
  "any word": {
    pools: {
      directories: ["elm", "oak"],
      files: ["fig", "pea", "rye"],
      words: ["red", "tin", "jade", "blue"],
    },
    shapes: [
      [level(1, 0), level(1, 1), level(0, 1)],
      [level(1, 0), level(0, 1)],
    ],
    mostOfFirst: 1,
    mostOfSecond: 2,
    anyWord: true,
  },
};

describe("countObservationFloor", () => {
  for (const [name, world] of Object.entries(tinyWorlds))
    it(`is the share of worlds that answer alike: ${name}`, () => {
      const all = [...everyTask(world)];
      expect(all.reduce((sum, { weight }) => sum + weight, 0)).toBeCloseTo(1, 9);
      const random = new CounterRandom(deriveSeed(5, `count floor/${name}`));
      const { directories, files, words } = world.pools;
      let informative = 0;
      for (let round = 0; round < 12; round++) {
        const truth = random.pick(all);
        const any = (): string => random.pick([...directories, ...files, ...files, "..", "."]);
        const path = (): string =>
          random.integer(2)
            ? random.pick(truth.world.files).path
            : Array.from({ length: 1 + random.integer(2) }, any).join("/");
        const actions = Array.from({ length: 1 + random.integer(6) }, () => {
          const word = random.pick([...words, "cloud", ".", truth.word ?? "red"]);
          return random.pick([
            () => "ls",
            () => "find",
            () => `cd ${any()}`,
            () => `cat ${path()}`,
            () => `cat ${path()} ${path()}`,
            () => `wc -l ${path()}`,
            () => `grep ${word} ${path()}`,
            () => `grep -c ${word} ${path()}`,
            () => `grep ${word} -c ${path()}`,
          ])();
        });
        const possible = all.filter(({ target, word }) => target === truth.target && word === truth.word);
        const said = [...answers(truth.world, actions)];
        const alike = possible.filter(({ world: other }) => {
          let turn = 0;
          for (const answer of answers(other, actions)) if (answer !== said[turn++]) return false;
          return true;
        });
        const sum = (list: Possibility[]): number => list.reduce((total, { weight }) => total + weight, 0);
        const expected = -Math.log(sum(alike) / sum(possible));
        const { target, word } = truth;
        const task = { ...truth.world, target, word, split: "train" } as unknown as CountTask;
        expect(
          countObservationFloor(task, actions, world),
          JSON.stringify({ world: truth.world, target, word, actions }),
        ).toBeCloseTo(expected, 9);
        if (expected > 2) informative++;
      }
      expect(informative).toBeGreaterThan(4);
    });

  it("claims no more than is there where a pattern fits several words", () => {
    const world = { ...tinyWorlds["its first word"] };
    const [task] = [...everyTask(world)].filter(({ word }) => word === undefined);
    const full = { ...task.world, target: task.target, split: "train" } as unknown as CountTask;
    const [{ path }] = task.world.files;
    const floor = (...actions: string[]): number => countObservationFloor(full, ["find", ...actions], world);
    expect(floor(`grep -c e ${path}`)).toBeCloseTo(floor(), 12);
    expect(floor(`grep -c e ${path}`, `cat ${path}`)).toBeCloseTo(floor(`cat ${path}`), 12);
  });

  it("charges each discovery once", () => {
    const task = Array.from({ length: 50 }, (_, i) => generateCountTask("train", i)).find(({ word }) => word);
    if (!task) throw new Error("no task counts a word");
    const floor = (...actions: string[]): number => countObservationFloor(task, actions);
    const path = task.files.find((file) => nameOf(file.path) === task.target)?.path ?? "";
    expect(floor()).toBe(0);
    expect(floor("pwd", "cd ..", "rm fig", "cat", "ls | sort", "wc fig", "nonsense")).toBe(0);
    const found = floor("find");
    const counted = floor("find", `grep -c ${task.word} ${path}`);
    expect(counted - found).toBeCloseTo(Math.log(4), 9);
    expect(floor("find", `grep -c ${task.word} ${path}`, `grep ${task.word} ${path}`)).toBeCloseTo(
      counted,
      9,
    );
    const read = floor("find", `cat ${path}`);
    expect(
      floor("find", `cat ${path}`, `wc -l ${path}`, `grep -c red ${path}`, `submit ${task.answer}`, "ls"),
    ).toBeCloseTo(read, 9);
    // The same actions in another form.
    expect(floor("  find", "$ cd", `cat  ${path}\nls`)).toBeCloseTo(read, 9);
  });
});
