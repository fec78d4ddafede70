import { resolveInside } from "../../sandbox/resolve-inside.js";
import type { Tree } from "./draw-tree.js";
import type { PathOutcome } from "./world-evidence.js";

/** A tree as it is now. Paths are relative to the root, "" is the root. */
export class FileTree {
  /** Words by path; a new file holds "". */
  readonly files: Map<string, string>;
  private readonly directories: ReadonlySet<string>;

  constructor({ directories, files }: Tree) {
    this.directories = new Set(["", ...directories]);
    this.files = new Map(files.map(({ path, word }) => [path, word]));
  }

  /** What a path leads to, found component by component as the kernel does. */
  outcome(from: string, path: string): PathOutcome {
    let at = from;
    for (const name of path.split("/")) {
      if (this.files.has(at)) return "not-a-directory";
      at = (resolveInside(at, name) ?? []).join("/");
      if (!this.files.has(at) && !this.directories.has(at)) return "missing";
    }
    return this.files.has(at) ? "file" : "directory";
  }

  /** Names in a directory. */
  names(path: string): string[] {
    return [...this.directories, ...this.files.keys()]
      .filter((entry) => entry !== "" && entry.slice(0, Math.max(0, entry.lastIndexOf("/"))) === path)
      .map((entry) => entry.slice(entry.lastIndexOf("/") + 1));
  }
}
