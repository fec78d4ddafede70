import { resolveInside } from "../../sandbox/resolve-inside.js";
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

/** What has become of a path since the world was drawn: a file (the path it had then, none for a new one), or nothing. */
type Edit = { file: true; origin?: string } | { file: false };

/**
 * Facts about a world as it was drawn, gathered from what its terminal said: which names are where and which are not; and how it was
 * changed since. Paths are relative to the root, "" is the root. Only directories known to exist have an entry.
 */
export class WorldEvidence {
  readonly directories = new Map<string, DirectoryEvidence>();
  /** Words that were seen, by the path that their file had when the world was drawn. */
  readonly read = new Map<string, string>();
  private readonly pools: NamePools;
  private readonly edits = new Map<string, Edit>();

  /** @param pools of the names that may stand in the world. */
  constructor(pools: NamePools) {
    this.pools = pools;
    this.addDirectory("");
  }

  /**
   * The ways in which looking up a path from a directory can have had the given outcome: this evidence, each time with the facts of
   * one way added. The ways exclude each other; there are several where `a/b` is missing and nobody knows which of the two is.
   */
  lookUp(from: string, path: string, outcome: PathOutcome): WorldEvidence[] {
    return this.follow(from, path.split("/"), outcome);
  }

  /**
   * The evidence with the contents of a known directory and, where `deep`, of all below it added; undefined when they contradict it.
   * @param namesIn the names that stand in a directory now.
   */
  list(path: string, namesIn: (path: string) => readonly string[], deep = false): WorldEvidence | undefined {
    const here = this.entry(path);
    const names = new Set(namesIn(path));
    const below = (name: string): string => (path === "" ? name : `${path}/${name}`);
    for (const [edited, edit] of this.edits) {
      const name = edited.slice(edited.lastIndexOf("/") + 1);
      if (below(name) !== edited) continue;
      if (names.has(name) !== edit.file || (deep && edit.file && namesIn(edited).length > 0))
        return undefined;
      if (here.files.has(name)) names.add(name);
      else names.delete(name);
    }
    const expected = [...here.directories, ...here.files];
    if (expected.some((name) => !names.has(name)) || [...names].some((name) => here.absent.has(name)))
      return undefined;
    let result: WorldEvidence | undefined = this.copy();
    const entry = result.entry(path);
    entry.complete = true;
    for (const name of names)
      if (this.pools.directories.includes(name)) result.addDirectory(below(name));
      else if (this.pools.files.includes(name)) entry.files.add(name);
      else return undefined;
    if (deep) for (const name of entry.directories) result = result?.list(below(name), namesIn, true);
    return result;
  }

  /** The evidence with the word of a known file added, or undefined when it contradicts it. */
  readWord(path: string, word: string): WorldEvidence | undefined {
    const origin = this.originOf(path);
    if (origin === undefined) return word === "" ? this : undefined;
    const known = this.read.get(origin);
    if (known !== undefined) return known === word ? this : undefined;
    if ([...this.read.values()].includes(word)) return undefined;
    const result = this.copy();
    result.read.set(origin, word);
    return result;
  }

  /** The evidence after a new, empty file was put at a path where nothing is. */
  create(path: string): WorldEvidence {
    const result = this.copy();
    result.edits.set(path, { file: true });
    return result;
  }

  /** The evidence after a known file was put at a path, in place of any file there. */
  transfer(path: string, target: string, keep: boolean): WorldEvidence {
    const result = this.copy();
    result.edits.set(target, { file: true, origin: this.originOf(path) });
    if (!keep) result.edits.set(path, { file: false });
    return result;
  }

  private originOf(path: string): string | undefined {
    const edit = this.edits.get(path);
    if (!edit) return path;
    return edit.file ? edit.origin : undefined;
  }

  private follow(from: string, components: readonly string[], outcome: PathOutcome): WorldEvidence[] {
    if (components.length === 0) return outcome === "directory" ? [this] : [];
    const [name, ...rest] = components;
    const path = (resolveInside(from, name) ?? []).join("/");
    if (name === "" || name === "." || name === "..") return this.follow(path, rest, outcome);
    const ifFile: PathOutcome = rest.length === 0 ? "file" : "not-a-directory";
    const edit = this.edits.get(path);
    if (edit) return outcome === (edit.file ? ifFile : "missing") ? [this] : [];

    const here = this.entry(from);
    const ways: WorldEvidence[] = [];
    const isDirectory = this.pools.directories.includes(name);
    const isFile = this.pools.files.includes(name);
    const known = here.directories.has(name) || here.files.has(name);
    const ruledOut = here.absent.has(name) || (here.complete && !known);

    if (isDirectory && !ruledOut) {
      const present = this.copy();
      present.addDirectory(path);
      ways.push(...present.follow(path, rest, outcome));
    }
    if (isFile && !ruledOut && outcome === ifFile) {
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

  private copy(): WorldEvidence {
    const copy = new WorldEvidence(this.pools);
    for (const [path, known] of this.directories)
      copy.directories.set(path, {
        directories: new Set(known.directories),
        files: new Set(known.files),
        absent: new Set(known.absent),
        complete: known.complete,
      });
    for (const [path, word] of this.read) copy.read.set(path, word);
    for (const [path, edit] of this.edits) copy.edits.set(path, edit);
    return copy;
  }

  private entry(path: string): DirectoryEvidence {
    return this.directories.get(path) ?? this.addDirectory(path);
  }

  /** Notes that a directory exists, in its parent too. */
  private addDirectory(path: string): DirectoryEvidence {
    const known = this.directories.get(path);
    if (known) return known;
    if (path !== "") {
      const slash = path.lastIndexOf("/");
      this.entry(path.slice(0, Math.max(0, slash))).directories.add(path.slice(slash + 1));
    }
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
