import { acceptAction } from "../../../environments/accept-action.js";
import { resolveInside } from "../../../sandbox/resolve-inside.js";
import { FileTree } from "../file-tree.js";
import { TerminalEvidence } from "../terminal-evidence.js";
import { worldProbability } from "../world-probability.js";
import { contentProbability, type LineEvidence } from "./content-probability.js";
import { countCommandProblem } from "./count-command-problem.js";
import type { CountTask } from "./count-task.js";
import { COUNT_WORLDS, type CountWorld } from "./count-world.js";

/**
 * Irreducible nats of the terminal's answers, given the instruction: -log of the probability of a world that answers these actions as this one
 * does. What stands where (`worldProbability`) and what the files hold (`contentProbability`) are independent, so it is their product. Exact
 * but for one thing: what `grep` says of a pattern that fits several words of the pool, though not all, is not charged, and the floor is then
 * a lower bound.
 */
export function countObservationFloor(
  task: CountTask,
  actions: readonly string[],
  world: CountWorld = COUNT_WORLDS[task.split],
): number {
  const tree = { ...task, files: task.files.map(({ path }) => ({ path, word: "" })) };
  const files = new FileTree(tree);
  const terminal = new TerminalEvidence(tree, world.pools);
  const linesOf = new Map(task.files.map(({ path, lines }) => [path, lines]));
  const evidence = new Map<string, LineEvidence>();
  const of = (path: string): LineEvidence => {
    const known = evidence.get(path) ?? { counts: new Map<string, number>() };
    evidence.set(path, known);
    return known;
  };
  if (task.word !== undefined)
    for (const path of linesOf.keys())
      if (path.slice(path.lastIndexOf("/") + 1) === task.target) of(path).asked = task.word;

  for (const action of actions) {
    const command = acceptAction(action, { cwd: terminal.cwd, commandProblem: countCommandProblem });
    if (!command.ok) continue;
    const { text } = command;
    const [program, ...rest] = text.split(" ");
    if (program === "submit") break;
    if (program !== "cat" && program !== "grep" && program !== "wc") {
      terminal.take(text);
      continue;
    }
    const words = rest.filter((word) => !word.startsWith("-"));
    const pattern = program === "grep" ? words.shift() : undefined;
    // Names nothing but paths: only where they lead is taken in.
    terminal.take(["wc", ...words].join(" "));
    for (const operand of words) {
      const path = (resolveInside(terminal.cwd, operand) ?? []).join("/");
      const lines = linesOf.get(path);
      if (!lines || files.outcome(terminal.cwd, operand) !== "file") continue;
      if (program === "cat") of(path).lines = lines;
      else if (pattern === undefined) of(path).total = lines.length;
      else {
        const fits = new RegExp(pattern);
        const fitting = world.pools.words.filter((word) => fits.test(word));
        const found = lines.filter((line) => fits.test(line)).length;
        if (fitting.length === 1) of(path).counts.set(fitting[0], found);
        else if (fitting.length === world.pools.words.length) of(path).total = found;
      }
    }
  }
  const places = terminal.ways.reduce(
    (sum, way) => sum + worldProbability(way, { file: task.target }, world),
    0,
  );
  return Math.max(0, -Math.log(places * contentProbability([...evidence.values()], world)));
}
