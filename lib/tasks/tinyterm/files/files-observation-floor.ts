import { FIND_WORLDS } from "../find/find-world.js";
import { treeObservationFloor } from "../tree-observation-floor.js";
import type { TreeWorld } from "../tree-world.js";
import type { RevealedNames } from "../world-probability.js";
import { filesCommandProblem } from "./files-command-problem.js";
import type { FilesTask } from "./files-task.js";

/**
 * Irreducible nats of the terminal's answers, given the names in the instruction. Exact as long as no directory is moved; see
 * `treeObservationFloor`.
 */
export function filesObservationFloor(
  task: FilesTask,
  actions: readonly string[],
  world: TreeWorld = FIND_WORLDS[task.split],
): number {
  const [, file, goal] = task.instruction.split(" ");
  const [first, second] = goal.split("/");
  const fresh = task.kind === "rename" ? first : second;
  const revealed: RevealedNames = task.kind === "rename" ? { file } : { file, directory: first, apart: true };
  // The new name is known to be nowhere: as if it were in no pool.
  const pools = { ...world.pools, files: world.pools.files.filter((name) => name !== fresh) };
  return treeObservationFloor({
    tree: task,
    revealed,
    world: { ...world, pools },
    commandProblem: filesCommandProblem,
    actions,
  });
}
