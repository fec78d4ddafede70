import { describe, expect, it } from "vitest";
import { CounterRandom } from "../../../lib/random/counter-random.js";
import { deriveSeed } from "../../../lib/random/derive-seed.js";
import { parseCommand } from "../../../lib/sandbox/parse-command.js";
import { fixCommandProblem } from "../../../lib/tasks/tinyterm/fix/fix-command-problem.js";
import { fixObservationFloor } from "../../../lib/tasks/tinyterm/fix/fix-observation-floor.js";
import type { FixTask } from "../../../lib/tasks/tinyterm/fix/fix-task.js";
import type { FixWorld } from "../../../lib/tasks/tinyterm/fix/fix-world.js";
import { generateFixTask } from "../../../lib/tasks/tinyterm/fix/generate-fix-task.js";
import { arrangements } from "./arrangements.js";
import { everyTree } from "./every-tree.js";
import { runSimulated, type SimulatedWorld } from "./simulated-shell.js";

const level = (directories: number, files: number) => ({ directories, files });
const nameOf = (path: string): string => path.slice(path.lastIndexOf("/") + 1);
const parentOf = (path: string): string => path.slice(0, Math.max(0, path.lastIndexOf("/")));

interface Possibility {
  world: Pick<FixTask, "directories" | "files">;
  shell: SimulatedWorld;
  script: string;
  target: string;
  weight: number;
}

/** Every task that the generator may make, with its probability: written anew, draw by draw. */
function* everyTask({ pools, shapes, faults, programs }: FixWorld): Generator<Possibility> {
  for (const shape of shapes) {
    const trees = [...everyTree(shape, pools)];
    for (const { directories, files: paths } of trees) {
      const words = [...arrangements(pools.words, paths.length)];
      for (const drawn of words) {
        const files = paths.map((path, i) => ({ path, word: drawn[i] }));
        const world = { directories, files };
        const scripts = ["run", "check"].map((path) => ({ path, word: `@${path}` }));
        const shell = { directories, files: [...files, ...scripts] };
        const base = 1 / shapes.length / trees.length / words.length / paths.length / faults.length;
        for (const target of paths) {
          const elsewhere = directories.filter((path) => path !== parentOf(target));
          const scriptsOf = {
            bare: [`cat ${nameOf(target)}`],
            misplaced: elsewhere.map((path) => `cat ${path}/${nameOf(target)}`),
            unknown: programs.map((program) => `${program} ${target}`),
            twofold: programs.flatMap((program) =>
              elsewhere.map((path) => `${program} ${path}/${nameOf(target)}`),
            ),
          };
          for (const fault of faults)
            for (const script of scriptsOf[fault])
              yield { world, shell, script, target, weight: base / scriptsOf[fault].length };
        }
      }
    }
  }
}

const decisions = new Map<string, boolean>();

function allowed(action: string, cwd: string): boolean {
  const key = `${cwd}\n${action}`;
  const scripts = ["run", "check"];
  const known =
    decisions.get(key) ?? (parseCommand(action, { cwd, scripts }).ok && !fixCommandProblem(action, cwd));
  decisions.set(key, known);
  return known;
}

/** What the terminal says. `charged` is false where the floor is said to leave something out. */
function* answers(
  { world, shell, script, target }: Possibility,
  actions: readonly string[],
): Generator<{ text: string; charged: boolean }> {
  let cwd = "";
  let text = script;
  for (const action of actions) {
    if (!allowed(action, cwd)) continue;
    const [program, operand] = action.split(" ");
    const say = (from: string, command: string): ReturnType<typeof runSimulated> => {
      const said = runSimulated(shell, from, command);
      return { ...said, text: said.text.replaceAll("@run\n", `${text}\n`) };
    };
    const runIt = (from: string, name: string): { text: string; exit: number } => {
      const [called] = text.split(" ");
      return called === "cat" || called === "ls"
        ? say(from, text)
        : { text: `${name}: line 1: ${called}: command not found\n`, exit: 127 };
    };
    let charged = true;
    let said: { text: string; exit: number };
    if (program === "echo") {
      [, text] = /^echo (.*) > /.exec(action) ?? [];
      said = { text: "", exit: 0 };
    } else if (program === "bash" && nameOf(operand) === "run") {
      said = runIt(cwd, operand);
      charged = cwd === "" || text !== script || said.exit !== 0;
    } else if (program === "bash") {
      const { text: printed, exit } = runIt("", "run");
      const word = world.files.find(({ path }) => path === target)?.word;
      if (exit !== 0) said = { text: `failed: run ended with status ${exit}\n`, exit: 1 };
      else if (printed === `${word}\n`) said = { text: "passed\n", exit: 0 };
      else said = { text: `failed: run printed ${printed}`, exit: 1 };
      charged = !text.startsWith("ls");
    } else {
      const result = say(cwd, action);
      cwd = result.cwd;
      said = result;
    }
    yield { text: `${said.text}[${said.exit}] ${cwd}\n`, charged };
  }
}

const pools = {
  directories: ["elm", "oak", "yew"],
  files: ["fig", "pea", "rye"],
  words: ["red", "tin", "jade"],
};
const programs = ["show", "open"];
const tinyWorlds: Record<string, FixWorld> = {
  "one fault": {
    pools,
    shapes: [
      [level(2, 0), level(0, 1)],
      [level(3, 0), level(0, 1)],
    ],
    faults: ["bare", "misplaced", "unknown"],
    programs,
  },
  "two faults and nested directories": {
    pools,
    shapes: [
      [level(2, 0), level(0, 1)],
      [level(1, 0), level(1, 1), level(0, 1)],
      [level(1, 0), level(2, 0), level(0, 1)],
    ],
    faults: ["bare", "misplaced", "unknown", "twofold"],
    programs,
  },
};

describe("fixObservationFloor", () => {
  for (const [name, world] of Object.entries(tinyWorlds))
    it(`is the share of worlds that answer alike: ${name}`, () => {
      const all = [...everyTask(world)];
      const sum = (list: Possibility[]): number => list.reduce((total, { weight }) => total + weight, 0);
      expect(sum(all)).toBeCloseTo(1, 9);
      const random = new CounterRandom(deriveSeed(6, `fix floor/${name}`));
      const counts = { exact: 0, bound: 0, checked: 0 };
      for (let round = 0; round < 80; round++) {
        const truth = random.pick(all);
        const any = (): string => random.pick([...pools.directories, ...pools.files, "..", ".", "run"]);
        const path = (): string =>
          random.integer(2)
            ? random.pick([...truth.world.files.map((file) => file.path), truth.script.split(" ")[1]])
            : Array.from({ length: 1 + random.integer(2) }, any).join("/");
        const actions = Array.from({ length: 1 + random.integer(7) }, () =>
          random.pick([
            () => "ls",
            () => `ls ${path()}`,
            () => "find",
            () => `cd ${any()}`,
            () => "cd",
            () => `cat ${path()}`,
            () => "cat run",
            () => "bash run",
            () => "bash run",
            () => "bash check",
            () => "bash check",
            () => `cd ${random.pick(truth.world.directories)}\nbash ../run\ncd`,
            () => `cd ${random.pick(truth.world.directories)}\nbash ../check\ncd`,
            () => `echo cat ${path()} > run`,
            () => `echo cat ${path()} > run\nbash check`,
            () => `echo cat ${random.pick(truth.world.files).path} > run\nbash check`,
            () => `echo cat ${path()} > ../run`,
            () => `echo ls ${path()} > run`,
          ])(),
        ).flatMap((lines) => lines.split("\n"));
        const said = [...answers(truth, actions)];
        const alike = all.filter((other) => {
          let turn = 0;
          for (const { text } of answers(other, actions)) if (text !== said[turn++].text) return false;
          return true;
        });
        const expected = -Math.log(sum(alike));
        const task = { ...truth.world, script: truth.script, target: truth.target, split: "train" };
        const floor = fixObservationFloor(task as unknown as FixTask, actions, world);
        const context = JSON.stringify({ task, actions, expected });
        if (said.every(({ charged }) => charged)) {
          expect(floor, context).toBeCloseTo(expected, 9);
          counts.exact++;
          if (said.some(({ text }) => /passed|failed: run printed/.test(text))) counts.checked++;
        } else {
          expect(floor, context).toBeLessThan(expected + 1e-9);
          counts.bound++;
        }
      }
      expect(counts.exact).toBeGreaterThan(30);
      expect(counts.checked).toBeGreaterThan(1);
      expect(counts.bound).toBeGreaterThan(0);
    });

  it("charges each discovery once", () => {
    const task = Array.from({ length: 20 }, (_, i) => generateFixTask("train", i)).find(
      ({ fault }) => fault === "unknown",
    );
    if (!task) throw new Error("no such task");
    const floor = (...actions: string[]): number => fixObservationFloor(task, actions);
    expect(floor()).toBe(0);
    expect(floor("pwd", "cat check", "echo show fig > run", "bash fig", "ls -a", "cd ..", "nonsense")).toBe(
      0,
    );
    expect(floor("bash run")).toBeCloseTo(Math.log(9), 9);
    expect(floor("bash check")).toBeCloseTo(Math.log(3), 9);
    expect(floor("bash check", "bash run", "bash check")).toBeCloseTo(Math.log(9), 9);
    // The script names a file that is there, so finding it costs nothing more, and reading it costs its word.
    const read = floor("cat run");
    expect(read).toBeCloseTo(Math.log(9 * 12 * 16), 9);
    expect(floor("cat run", "bash run", "bash check")).toBeCloseTo(read, 9);
    expect(floor("cat run", `echo cat ${task.target} > run`, "bash check", "submit done", "ls")).toBeCloseTo(
      read,
      9,
    );
    expect(floor("cat run", `cat ${task.target}`)).toBeCloseTo(read + Math.log(16), 9);
  });
});
