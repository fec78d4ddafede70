import type { NamePools } from "./name-pools.js";

/** What is known of one directory. */
interface DirectoryEvidence {
  readonly directories: Set<string>;
  readonly files: Set<string>;
  readonly absent: Set<string>;
  /** Everything in it is known. */
  complete: boolean;
}

/** What a path leads to. */
export type PathOutcome = "directory" | "file" | "missing" | "not-a-directory";

/**
 * Facts about a world gathered from what its terminal said: which names are where and which are not. Paths are relative to the
 * root, "" is the root. Only directories known to exist have an entry.
 */
export class WorldEvidence {
  readonly directories = new Map<string, DirectoryEvidence>();
  /** Paths of the files whose word was seen. */
  readonly read = new Set<string>();

  constructor() {
    this.addDirectory("");
  }

  copy(): WorldEvidence {
    const copy = new WorldEvidence();
    for (const [path, known] of this.directories)
      copy.directories.set(path, {
        directories: new Set(known.directories),
        files: new Set(known.files),
        absent: new Set(known.absent),
        complete: known.complete,
      });
    for (const path of this.read) copy.read.add(path);
    return copy;
  }

  /**
   * The ways in which looking up a path from a directory can have had the given outcome: this evidence, each time with the facts of
   * one way added. The ways exclude each other; there are several where `a/b` is missing and nobody knows which of the two is.
   */
  lookUp(
    from: string,
    components: readonly string[],
    outcome: PathOutcome,
    pools: NamePools,
  ): WorldEvidence[] {
    if (components.length === 0) return outcome === "directory" ? [this] : [];
    const [name, ...rest] = components;
    if (name === "" || name === ".") return this.lookUp(from, rest, outcome, pools);
    if (name === "..") return this.lookUp(parentOf(from), rest, outcome, pools);
    const here = this.entry(from);
    const path = from === "" ? name : `${from}/${name}`;
    const ways: WorldEvidence[] = [];
    const isDirectory = pools.directories.includes(name);
    const isFile = pools.files.includes(name);
    const known = here.directories.has(name) || here.files.has(name);
    const ruledOut = here.absent.has(name) || (here.complete && !known);

    if (isDirectory && !ruledOut) {
      const present = this.copy();
      present.entry(from).directories.add(name);
      present.addDirectory(path);
      ways.push(...present.lookUp(path, rest, outcome, pools));
    }
    if (isFile && !ruledOut && outcome === (rest.length === 0 ? "file" : "not-a-directory")) {
      const present = this.copy();
      present.entry(from).files.add(name);
      ways.push(present);
    }
    if (!known && outcome === "missing") {
      const absent = this.copy();
      // Names outside of the pools are nowhere in any world: no news.
      if (isDirectory || isFile) absent.entry(from).absent.add(name);
      ways.push(absent);
    }
    return ways;
  }

  /** The evidence with the full contents of a known directory added, or undefined when they contradict it. */
  list(path: string, directories: readonly string[], files: readonly string[]): WorldEvidence | undefined {
    const here = this.entry(path);
    const all = new Set([...directories, ...files]);
    const expected = [...here.directories, ...here.files];
    if (expected.some((name) => !all.has(name)) || [...all].some((name) => here.absent.has(name)))
      return undefined;
    const result = this.copy();
    const entry = result.entry(path);
    for (const name of files) entry.files.add(name);
    for (const name of directories) {
      entry.directories.add(name);
      result.addDirectory(path === "" ? name : `${path}/${name}`);
    }
    entry.complete = true;
    return result;
  }

  private entry(path: string): DirectoryEvidence {
    return this.directories.get(path) ?? this.addDirectory(path);
  }

  private addDirectory(path: string): DirectoryEvidence {
    const known = this.directories.get(path);
    if (known) return known;
    const fresh = {
      directories: new Set<string>(),
      files: new Set<string>(),
      absent: new Set<string>(),
      complete: false,
    };
    this.directories.set(path, fresh);
    return fresh;
  }
}

const parentOf = (path: string): string => path.slice(0, Math.max(0, path.lastIndexOf("/")));
