import { resolveInside } from "../../sandbox/resolve-inside.js";
import type { FileTree } from "./file-tree.js";
import type { NamePools } from "./name-pools.js";
import type { WorldEvidence } from "./world-evidence.js";

/** One `mv` or `cp` of a source to a target. */
interface Transfer {
  /** What is known before it. */
  ways: readonly WorldEvidence[];
  /** The world, changed here as the program changes it. */
  tree: FileTree;
  cwd: string;
  pools: NamePools;
  source: string;
  target: string;
  /** True for `cp`. */
  keep: boolean;
}

/**
 * What the answer to a transfer tells; undefined when it moves a directory, or a file with a directory's name, which is not followed. The
 * programs look at the source first, then at the target. A success does not say whether the target was a directory, a file that is lost, or
 * nothing, so that all of these stay possible.
 */
export function transferEvidence(transfer: Transfer): WorldEvidence[] | undefined {
  const { ways, tree, cwd, pools, source, target, keep } = transfer;
  const resolve = (path: string): string => (resolveInside(cwd, path) ?? []).join("/");
  const sourceOutcome = tree.outcome(cwd, source);
  const from = resolve(source);
  const name = from.slice(from.lastIndexOf("/") + 1);
  const looked = ways.flatMap((way) => way.lookUp(cwd, source, sourceOutcome));
  if (sourceOutcome === "missing" || sourceOutcome === "not-a-directory") return looked;
  if (sourceOutcome === "directory") return keep ? looked : undefined;
  if (pools.directories.includes(name)) return undefined;

  const outcome = tree.outcome(cwd, target);
  const at = resolve(target);
  const inside = at === "" ? name : `${at}/${name}`;
  const to = outcome === "directory" ? inside : at;
  const slash = target.lastIndexOf("/");
  const parent = slash < 0 ? "." : target.slice(0, slash);
  const parentOutcome = tree.outcome(cwd, parent);
  // The errors tell the outcomes apart.
  if (outcome === "not-a-directory" || to === from)
    return looked.flatMap((way) => way.lookUp(cwd, target, outcome));
  if (outcome === "missing" && parentOutcome === "missing")
    return looked.flatMap((way) => way.lookUp(cwd, parent, "missing"));

  tree.files.set(to, tree.files.get(from) ?? "");
  if (!keep) tree.files.delete(from);
  return looked.flatMap((way) => {
    const intoDirectory = way
      .lookUp(cwd, target, "directory")
      .flatMap((inner) => [...inner.lookUp("", inside, "file"), ...inner.lookUp("", inside, "missing")])
      .filter(() => inside !== from)
      .map((inner) => inner.transfer(from, inside, keep));
    const byName = way
      .lookUp(cwd, parent, "directory")
      .flatMap((inner) => [...inner.lookUp(cwd, target, "file"), ...inner.lookUp(cwd, target, "missing")])
      .filter(() => at !== from)
      .map((inner) => inner.transfer(from, at, keep));
    return [...intoDirectory, ...byName];
  });
}
