import type { NamePools } from "./name-pools.js";
import { fallingFactorial, placeNames, type RestrictedName } from "./place-names.js";
import { directoriesPerDepth, type TreeShape } from "./tree-shape.js";
import type { WorldEvidence } from "./world-evidence.js";

const depthOf = (path: string): number => (path === "" ? 0 : path.split("/").length);
const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

/**
 * Probability that a random world bears out the evidence: the shape drawn evenly from `shapes`, names of directories, names of files
 * and words drawn evenly from their pools without replacement, the target an even choice among the files.
 * @param target name of the file known to exist somewhere.
 */
export function worldProbability(
  evidence: WorldEvidence,
  target: string,
  shapes: readonly TreeShape[],
  pools: NamePools,
): number {
  const total = sum(shapes.map((shape) => givenShape(evidence, target, shape, pools)));
  return total / shapes.length / fallingFactorial(pools.words.length, evidence.read.size);
}

function givenShape(evidence: WorldEvidence, target: string, shape: TreeShape, pools: NamePools): number {
  const perDepth = directoriesPerDepth(shape);
  const paths = [...evidence.directories.keys()];
  const unseen = [...perDepth];
  for (const path of paths) if (--unseen[depthOf(path)] < 0 || depthOf(path) >= shape.length) return 0;

  /** Share of the ways to name one kind of thing that agree with the evidence. */
  const share = (kind: "directories" | "files", required: string | undefined): number => {
    const sizes = shape.map((level) => level[kind]);
    const pool = pools[kind];
    const known = paths.map((path) => [...(evidence.directories.get(path)?.[kind] ?? [])]);
    const found = new Set(known.flat());
    // A name stands in one place only.
    if (found.size !== sum(known.map((names) => names.length))) return 0;
    const open: number[] = [];
    let ways = 1;
    for (const [i, path] of paths.entries()) {
      const size = sizes[depthOf(path)];
      open.push(size - known[i].length);
      if (open[i] < 0 || (open[i] > 0 && evidence.directories.get(path)?.complete)) return 0;
      ways *= fallingFactorial(size, known[i].length);
    }
    // Directories nobody has seen are one place: nothing tells them apart.
    open.push(sum(unseen.map((count, depth) => count * sizes[depth])));

    const restricted: RestrictedName[] = [];
    for (const name of pool) {
      if (found.has(name)) continue;
      const excluded = new Set(
        paths.flatMap((path, i) => (evidence.directories.get(path)?.absent.has(name) ? [i] : [])),
      );
      if (excluded.size > 0 || name === required) restricted.push({ excluded, present: name === required });
    }
    ways *= placeNames(open, restricted, pool.length - found.size - restricted.length);

    const slots = sum(perDepth.map((count, depth) => count * sizes[depth]));
    const all =
      required === undefined
        ? fallingFactorial(pool.length, slots)
        : slots * fallingFactorial(pool.length - 1, slots - 1);
    return ways / all;
  };
  const files = sum(perDepth.map((count, depth) => count * shape[depth].files));
  return evidence.read.size > files ? 0 : share("directories", undefined) * share("files", target);
}
