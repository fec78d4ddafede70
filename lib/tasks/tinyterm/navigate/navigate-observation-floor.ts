import { treeObservationFloor } from "../tree-observation-floor.js";
import type { TreeWorld } from "../tree-world.js";
import { navigateCommandProblem } from "./navigate-command-problem.js";
import type { NavigateTask } from "./navigate-task.js";
import { NAVIGATE_WORLDS } from "./navigate-world.js";

/** Irreducible nats of the terminal's answers, given the target's name. Exact for every action sequence; see `treeObservationFloor`. */
export function navigateObservationFloor(
  task: NavigateTask,
  actions: readonly string[],
  world: TreeWorld = NAVIGATE_WORLDS[task.split],
): number {
  return treeObservationFloor({
    tree: task,
    revealed: { directory: task.target.slice(task.target.lastIndexOf("/") + 1) },
    world,
    commandProblem: navigateCommandProblem,
    actions,
  });
}
