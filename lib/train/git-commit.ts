import { readFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";

/** Commit checked out in the repository around a directory; undefined where there is none. Only files are read, git is not needed. */
export async function gitCommit(directory: string): Promise<string | undefined> {
  const read = async (...path: string[]): Promise<string | undefined> =>
    readFile(join(...path), "utf8").then(
      (text) => text.trim(),
      () => undefined,
    );
  for (let at = resolve(directory); ; at = dirname(at)) {
    // A linked working tree has a file `.git` that names its directory, which names the common one.
    const link = await read(at, ".git");
    const git = link?.startsWith("gitdir: ") ? resolve(at, link.slice(8)) : join(at, ".git");
    const head = await read(git, "HEAD");
    if (head === undefined) {
      if (dirname(at) === at) return undefined;
      continue;
    }
    if (!head.startsWith("ref: ")) return head;
    const common = resolve(git, (await read(git, "commondir")) ?? ".");
    const name = head.slice(5);
    const packed = await read(common, "packed-refs");
    return (
      (await read(common, name)) ??
      packed
        ?.split("\n")
        .find((line) => line.endsWith(` ${name}`))
        ?.split(" ")[0]
    );
  }
}
