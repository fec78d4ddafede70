import { execFile } from "node:child_process";
import { promisify } from "node:util";

/** Commit of the repository the process was started in, with `-dirty` when files differ from it; undefined where there is none. */
export async function gitCommit(directory: string): Promise<string | undefined> {
  const git = async (...args: string[]): Promise<string> =>
    (await promisify(execFile)("git", args, { cwd: directory, timeout: 5_000 })).stdout.trim();
  try {
    const commit = await git("rev-parse", "HEAD");
    const changes = await git("status", "--porcelain", "--untracked-files=no");
    return changes === "" ? commit : `${commit}-dirty`;
  } catch {
    return undefined;
  }
}
