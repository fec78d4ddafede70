import { parseCommand } from "../../../sandbox/parse-command.js";
import { resolveInside } from "../../../sandbox/resolve-inside.js";
import type { TreeWorld } from "../tree-world.js";
import { type PathOutcome, WorldEvidence } from "../world-evidence.js";
import { worldProbability } from "../world-probability.js";
import { findCommandProblem } from "./find-command-problem.js";
import type { FindTask } from "./find-task.js";
import { FIND_WORLDS } from "./find-world.js";

/**
 * Irreducible nats of the terminal's answers: -log of the probability, over the generator's worlds with this instruction, of a world
 * that answers these actions as this one does. Answers follow from world and actions alone, so this is the sum over turns of
 * -log p(answer | instruction, earlier answers). Exact for every action sequence: what is refused is answered by the harness, at no cost.
 */
export function findObservationFloor(
  task: FindTask,
  actions: readonly string[],
  { pools, shapes }: TreeWorld = FIND_WORLDS[task.split],
): number {
  const directories = new Set(["", ...task.directories]);
  const files = new Set(task.files.map((file) => file.path));
  const childrenOf = (set: ReadonlySet<string>, path: string): string[] =>
    [...set]
      .filter((p) => p !== "" && p.slice(0, Math.max(0, p.lastIndexOf("/"))) === path)
      .map((p) => p.slice(p.lastIndexOf("/") + 1));

  let cwd = "";
  let ways = [new WorldEvidence()];
  const list = (path: string): void => {
    const inside = childrenOf(directories, path);
    ways = ways.flatMap((way) => way.list(path, inside, childrenOf(files, path)) ?? []);
  };
  const listAll = (path: string): void => {
    list(path);
    for (const name of childrenOf(directories, path)) listAll(path === "" ? name : `${path}/${name}`);
  };

  for (const action of actions) {
    if (!parseCommand(action, { cwd }).ok || findCommandProblem(action) !== undefined) continue;
    const [program, ...operands] = action.split(" ").filter((word) => word !== "");
    if (program === "submit") break;
    if (program === "cd" && operands.length === 0) cwd = "";
    if (operands.length === 0 && (program === "ls" || program === "find")) operands.push(".");
    for (const operand of operands) {
      const outcome = outcomeOf(cwd, operand, directories, files);
      ways = ways.flatMap((way) => way.lookUp(cwd, operand.split("/"), outcome, pools));
      const path = (resolveInside(cwd, operand) ?? []).join("/");
      if (outcome === "directory" && program === "cd") cwd = path;
      if (outcome === "directory" && program === "ls") list(path);
      if (outcome === "directory" && program === "find") listAll(path);
      if (outcome === "file" && program === "cat") for (const way of ways) way.read.add(path);
    }
  }
  const probability = (way: WorldEvidence): number => worldProbability(way, task.target, shapes, pools);
  return Math.max(0, -Math.log(ways.reduce((sum, way) => sum + probability(way), 0)));
}

/** What a path leads to in the world as it is, found component by component as the kernel does. */
function outcomeOf(
  cwd: string,
  operand: string,
  directories: ReadonlySet<string>,
  files: ReadonlySet<string>,
): PathOutcome {
  let at = cwd;
  for (const name of operand.split("/")) {
    if (files.has(at)) return "not-a-directory";
    at = (resolveInside(at, name) ?? []).join("/");
    if (!files.has(at) && !directories.has(at)) return "missing";
  }
  return files.has(at) ? "file" : "directory";
}
