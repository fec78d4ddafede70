import { directoriesPerDepth, type TreeShape } from "../tree-shape.js";
import type { WorldEvidence } from "../world-evidence.js";
import { worldProbability } from "../world-probability.js";
import type { Fault } from "./fix-task.js";
import type { FixWorld } from "./fix-world.js";

/** What is known of the script as the task wrote it, and of its target. */
export interface ScriptEvidence {
  /** Its text. */
  script?: string;
  /** Whether its program exists. */
  programExists?: boolean;
  /** The program, known not to exist. */
  program?: string;
  /** Path of the target. */
  target?: string;
  /** Paths of files that are not the target. */
  others: Set<string>;
}

/** Probability that a random world bears out what is known of its tree, its script and its target. Exact. */
export function scriptProbability(tree: WorldEvidence, known: ScriptEvidence, world: FixWorld): number {
  const { shapes, faults } = world;
  const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
  const possible = faults.filter(
    (fault) => known.programExists === undefined || known.programExists === exists(fault),
  );
  /** Of the trees of one shape. */
  const given = (shape: TreeShape): number => {
    if (known.script !== undefined)
      return sum(possible.map((fault) => ofFault(tree, known, fault, shape, world)));
    const files = sum(directoriesPerDepth(shape).map((count, depth) => count * shape[depth].files));
    const chosen = (known.target === undefined ? files - known.others.size : 1) / files;
    const named = known.program === undefined ? 1 : 1 / world.programs.length;
    return possible.length * named * chosen * worldProbability(tree, {}, { ...world, shapes: [shape] });
  };
  return sum(shapes.map(given)) / shapes.length / faults.length;
}

const exists = (fault: Fault): boolean => fault === "bare" || fault === "misplaced";

/** Probability of the tree and of the script that is known, given fault and shape. */
function ofFault(
  tree: WorldEvidence,
  { script = "", target, others }: ScriptEvidence,
  fault: Fault,
  shape: TreeShape,
  world: FixWorld,
): number {
  const [program, path] = script.split(" ");
  const slash = path.lastIndexOf("/");
  const name = path.slice(slash + 1);
  const isName = (other: string): boolean => other.slice(other.lastIndexOf("/") + 1) === name;
  if ((program === "cat") !== exists(fault) || slash < 0 !== (fault === "bare")) return 0;
  if ((target !== undefined && !isName(target)) || [...others].some(isName)) return 0;

  let ways = target === undefined ? [tree] : tree.lookUp("", target, "file");
  if (fault === "unknown") ways = ways.flatMap((way) => way.lookUp("", path, "file"));
  if (fault === "misplaced" || fault === "twofold")
    ways = ways
      .flatMap((way) => way.lookUp("", path.slice(0, slash), "directory"))
      .flatMap((way) => way.lookUp("", path, "missing"));

  // Every name of a file is as likely the target's; no shape has a file in the root.
  let choices = world.pools.files.length;
  if (!exists(fault)) choices *= world.programs.length;
  const directories = directoriesPerDepth(shape).reduce((sum, count) => sum + count, -1);
  if (fault === "misplaced" || fault === "twofold") choices *= directories - 1;
  const probability = (way: WorldEvidence): number =>
    worldProbability(way, { file: name }, { ...world, shapes: [shape] });
  return ways.reduce((sum, way) => sum + probability(way), 0) / choices;
}
