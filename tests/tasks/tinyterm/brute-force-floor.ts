import { tidyAction } from "../../../lib/environments/tidy-action.js";
import { parseCommand } from "../../../lib/sandbox/parse-command.js";
import type { TreeWorld } from "../../../lib/tasks/tinyterm/tree-world.js";
import { arrangements } from "./arrangements.js";
import { everyTree } from "./every-tree.js";
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
    const list = [...everyTree(shape, world.pools)].flatMap(({ directories, files }) =>
      [...arrangements(world.pools.words, files.length)].map((words) => ({
        directories,
        files: files.map((path, i) => ({ path, word: words[i] })),
      })),
    );
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
  for (const written of actions) {
    const action = tidyAction(written).text;
    if (refuses(action) || !allowed(action, shell.cwd)) continue;
    const { text, exit, cwd } = shell.run(action);
    yield `${text}[${exit}] ${cwd}\n`;
  }
}
