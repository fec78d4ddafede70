import type { NamePools } from "./name-pools.js";
import { fallingFactorial, placeNames, type RestrictedName } from "./place-names.js";
import { directoriesPerDepth, type TreeShape } from "./tree-shape.js";
import type { TreeWorld } from "./tree-world.js";
import type { WorldEvidence } from "./world-evidence.js";

/** What an instruction reveals of its world. */
export interface RevealedNames {
  /** A file that is somewhere: an even choice among the files. */
  file?: string;
  /** A directory that is somewhere: an even choice among the directories. */
  directory?: string;
  /** True: the choice was even among the pairs of a file and a directory that does not hold it. */
  apart?: boolean;
}

/** Where a name stands: in a place, in one of its open slots or of so many of them. */
interface Reserved {
  name: string;
  place: number;
  slots?: number;
}

type Kind = "directories" | "files";

const depthOf = (path: string): number => (path === "" ? 0 : path.split("/").length);
const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

/**
 * Probability that a random world with what the instruction reveals bears out the evidence: the shape drawn evenly, names of directories,
 * names of files and words drawn evenly from their pools without replacement.
 */
export function worldProbability(
  evidence: WorldEvidence,
  revealed: RevealedNames,
  { shapes, pools }: TreeWorld,
): number {
  const total = sum(shapes.map((shape) => new ShapeEvidence(evidence, shape, pools).probability(revealed)));
  return total / shapes.length / fallingFactorial(pools.words.length, evidence.read.size);
}

/** Evidence about a world whose shape is known. */
class ShapeEvidence {
  private readonly evidence: WorldEvidence;
  private readonly shape: TreeShape;
  private readonly pools: NamePools;
  private readonly perDepth: readonly number[];
  /** The known directories. Those nobody has seen are one more place, the last: nothing tells them apart. */
  private readonly paths: readonly string[];
  /** Number of directories of each depth that nobody has seen. */
  private readonly unseen: readonly number[];

  constructor(evidence: WorldEvidence, shape: TreeShape, pools: NamePools) {
    this.evidence = evidence;
    this.shape = shape;
    this.pools = pools;
    this.perDepth = directoriesPerDepth(shape);
    this.paths = [...evidence.directories.keys()];
    this.unseen = this.perDepth.map(
      (count, depth) => count - this.paths.filter((path) => depthOf(path) === depth).length,
    );
  }

  probability({ file, directory, apart }: RevealedNames): number {
    const { evidence, paths, shape, unseen } = this;
    const slots = { directories: this.slots("directories"), files: this.slots("files") };
    if (paths.some((path) => depthOf(path) >= shape.length) || unseen.some((count) => count < 0)) return 0;
    if (evidence.read.size > slots.files) return 0;
    const any = this.share("directories", directory) * this.share("files", file);
    if (!apart || file === undefined || directory === undefined) return any;
    const heldByRoot = shape[0].files;
    const together = (slots.files - heldByRoot) / slots.files / slots.directories;
    return (any - this.shareTogether(file, directory)) / (1 - together);
  }

  /** Share of the worlds with both names in which the file is in the directory and all else is as the evidence says. */
  private shareTogether(file: string, directory: string): number {
    const { evidence, paths, shape, unseen } = this;
    const fileAt = paths.findIndex((path) => evidence.directories.get(path)?.files.has(file));
    const directoryAt = paths.findIndex((path) => path.split("/").at(-1) === directory);
    if (directoryAt >= 0) {
      const directories = this.share("directories", directory);
      if (fileAt >= 0) return fileAt === directoryAt ? directories * this.share("files", file) : 0;
      return directories * this.share("files", file, { name: file, place: directoryAt });
    }
    if (fileAt >= 0) return 0;
    /** The directory in a place, among `slots` that lie below parents of one depth. */
    const below = (place: number, depth: number, slots?: number): number => {
      if (shape[depth].directories === 0) return 0;
      const files = shape[depth + 1].files;
      return (
        this.share("directories", directory, { name: directory, place, slots }) *
        this.share("files", file, { name: file, place: paths.length, slots: files })
      );
    };
    return (
      sum(paths.map((path, place) => below(place, depthOf(path)))) +
      sum(unseen.map((count, depth) => below(paths.length, depth, count * shape[depth].directories)))
    );
  }

  /**
   * Share of the ways to name one kind of thing, a required name among them, that agree with the evidence.
   * @param reserved where the required name has to stand; counts in the ways only.
   */
  private share(kind: Kind, required: string | undefined, reserved?: Reserved): number {
    const { evidence, paths, shape, unseen } = this;
    const pool = this.pools[kind];
    const known = paths.map((path) => [...(evidence.directories.get(path)?.[kind] ?? [])]);
    const found = new Set(known.flat());
    // A name stands in one place only.
    if (found.size !== sum(known.map((names) => names.length))) return 0;
    const open: number[] = [];
    let ways = 1;
    for (const [i, path] of paths.entries()) {
      const size = shape[depthOf(path)][kind];
      open.push(size - known[i].length);
      if (open[i] < 0 || (open[i] > 0 && evidence.directories.get(path)?.complete)) return 0;
      ways *= fallingFactorial(size, known[i].length);
    }
    open.push(sum(unseen.map((count, depth) => count * shape[depth][kind])));

    const isExcluded = (name: string, place: number): boolean =>
      evidence.directories.get(paths[place])?.absent.has(name) ?? false;
    if (reserved) {
      const { name, place } = reserved;
      const slots = reserved.slots ?? open[place];
      if (slots === 0 || isExcluded(name, place)) return 0;
      ways *= slots;
      open[place]--;
      found.add(name);
    }
    const restricted: RestrictedName[] = [];
    for (const name of pool) {
      if (found.has(name)) continue;
      const excluded = new Set([...paths.keys()].filter((place) => isExcluded(name, place)));
      if (excluded.size > 0 || name === required) restricted.push({ excluded, present: name === required });
    }
    ways *= placeNames(open, restricted, pool.length - found.size - restricted.length);

    const slots = this.slots(kind);
    const all =
      required === undefined
        ? fallingFactorial(pool.length, slots)
        : slots * fallingFactorial(pool.length - 1, slots - 1);
    return ways / all;
  }

  /** Number of things of a kind in a world of this shape. */
  private slots(kind: Kind): number {
    return sum(this.perDepth.map((count, depth) => count * this.shape[depth][kind]));
  }
}
