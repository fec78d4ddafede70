import { acceptAction } from "../../environments/accept-action.js";
import type { Tree } from "./draw-tree.js";
import { TerminalEvidence } from "./terminal-evidence.js";
import type { TreeWorld } from "./tree-world.js";
import { type RevealedNames, worldProbability } from "./world-probability.js";

/** An episode in a world of which the generator's distribution is known. */
export interface TreeEpisode {
  tree: Tree;
  /** What the instruction reveals. */
  revealed: RevealedNames;
  world: TreeWorld;
  /** The family's: allows no flags and no pipes. */
  commandProblem(action: string): string | undefined;
  actions: readonly string[];
}

/**
 * Irreducible nats of the terminal's answers: -log of the probability, over the generator's worlds with this instruction, of a world
 * that answers these actions as this one does. Answers follow from world and actions alone, so this is the sum over turns of
 * -log p(answer | instruction, earlier answers). Exact but for one thing: from the move of a directory on, or the copy or move of a file
 * that has a directory's name, nothing is charged, and the floor is a lower bound. What is refused is answered by the harness, at no cost.
 */
export function treeObservationFloor(episode: TreeEpisode): number {
  const { commandProblem, revealed, tree, world } = episode;
  const evidence = new TerminalEvidence(tree, world.pools);
  for (const action of episode.actions) {
    const command = acceptAction(action, { cwd: evidence.cwd, commandProblem });
    if (!command.ok) continue;
    if (command.program === "submit") break;
    evidence.take(command.text);
  }
  const probability = evidence.ways.reduce((sum, way) => sum + worldProbability(way, revealed, world), 0);
  return Math.max(0, -Math.log(probability));
}
