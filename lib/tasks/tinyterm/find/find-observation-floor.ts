import { treeObservationFloor } from "../tree-observation-floor.js";
import type { TreeWorld } from "../tree-world.js";
import { findCommandProblem } from "./find-command-problem.js";
import type { FindTask } from "./find-task.js";
import { FIND_WORLDS } from "./find-world.js";

/** Irreducible nats of the terminal's answers, given the target's name. Exact for every action sequence; see `treeObservationFloor`. */
export function findObservationFloor(
  task: FindTask,
  actions: readonly string[],
  world: TreeWorld = FIND_WORLDS[task.split],
): number {
  return treeObservationFloor({
    tree: task,
    revealed: { file: task.target },
    world,
    commandProblem: findCommandProblem,
    actions,
  });
}
