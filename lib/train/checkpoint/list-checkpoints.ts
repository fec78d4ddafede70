import { readdir } from "node:fs/promises";

/** Steps of the directories named `step-N` (finished or not, valid or not), ascending; none when there is no such directory. */
export async function listCheckpoints(directory: string): Promise<number[]> {
  const names = await readdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  return names
    .map((name) => /^step-(0|[1-9][0-9]*)$/.exec(name)?.[1])
    .filter((digits) => digits !== undefined)
    .map(Number)
    .sort((a, b) => a - b);
}
