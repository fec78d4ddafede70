import { parseCommand } from "../../../lib/sandbox/parse-command.js";
import type { TreeShape } from "../../../lib/tasks/tinyterm/tree-shape.js";
import type { TreeWorld } from "../../../lib/tasks/tinyterm/tree-world.js";
import { SimulatedShell, type SimulatedWorld } from "./simulated-shell.js";

/** A world and its probability. */
export interface WeightedWorld {
  world: SimulatedWorld;
  weight: number;
}

export const level = (directories: number, files: number) => ({ directories, files });

/** Every world that the generator can draw. Only for tiny pools. */
export function tinyWorlds(world: TreeWorld): WeightedWorld[] {
  return world.shapes.flatMap((shape) => {
    const list = [...worldsOf(shape, world)];
    return list.map((w) => ({ world: w, weight: 1 / list.length }));
  });
}

/** -log of the share, among the possible worlds, of those in which the terminal answers these actions as in the true one. */
export function bruteForceFloor(
  possible: readonly WeightedWorld[],
  truth: SimulatedWorld,
  actions: readonly string[],
  refuses: (action: string) => boolean = () => false,
): number {
  const said = [...answers(truth, actions, refuses)];
  const sum = (list: readonly WeightedWorld[]): number =>
    list.reduce((total, { weight }) => total + weight, 0);
  const alike = possible.filter(({ world }) => {
    let turn = 0;
    for (const answer of answers(world, actions, refuses)) if (answer !== said[turn++]) return false;
    return true;
  });
  return -Math.log(sum(alike) / sum(possible));
}

/** Each way to give names from the pools to the slots of a shape. */
function* worldsOf(shape: TreeShape, world: TreeWorld): Generator<SimulatedWorld> {
  const slots = { directories: [] as { parent: number }[], files: [] as { parent: number }[] };
  let parents = [-1];
  for (const { directories, files } of shape) {
    const children: number[] = [];
    for (const parent of parents) {
      for (let i = 0; i < directories; i++) children.push(slots.directories.push({ parent }) - 1);
      for (let i = 0; i < files; i++) slots.files.push({ parent });
    }
    parents = children;
  }
  for (const directoryNames of arrangements(world.pools.directories, slots.directories.length)) {
    const paths: string[] = [];
    for (const [i, { parent }] of slots.directories.entries())
      paths.push(parent < 0 ? directoryNames[i] : `${paths[parent]}/${directoryNames[i]}`);
    for (const fileNames of arrangements(world.pools.files, slots.files.length))
      for (const words of arrangements(world.pools.words, slots.files.length))
        yield {
          directories: paths,
          files: slots.files.map(({ parent }, i) => ({
            path: parent < 0 ? fileNames[i] : `${paths[parent]}/${fileNames[i]}`,
            word: words[i],
          })),
        };
  }
}

function* arrangements(pool: readonly string[], count: number): Generator<string[]> {
  if (count === 0) yield [];
  else
    for (const name of pool)
      for (const rest of arrangements(
        pool.filter((other) => other !== name),
        count - 1,
      ))
        yield [name, ...rest];
}

const decisions = new Map<string, boolean>();

function allowed(action: string, cwd: string): boolean {
  const key = `${cwd}\n${action}`;
  const known = decisions.get(key) ?? parseCommand(action, { cwd }).ok;
  decisions.set(key, known);
  return known;
}

/** What the terminal says to each of a sequence of actions; refused ones say nothing. */
function* answers(
  world: SimulatedWorld,
  actions: readonly string[],
  refuses: (action: string) => boolean,
): Generator<string> {
  const shell = new SimulatedShell(world);
  for (const action of actions) {
    if (refuses(action) || !allowed(action, shell.cwd)) continue;
    const { text, exit, cwd } = shell.run(action);
    yield `${text}[${exit}] ${cwd}\n`;
  }
}
