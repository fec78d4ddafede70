import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";

/** Removes `step-N.tmp` directories left by a run that was killed; returns their names. */
export async function removeUnfinished(directory: string): Promise<string[]> {
  const names = (await readdir(directory)).filter((name) => /^step-[0-9]+\.tmp$/.test(name)).sort();
  for (const name of names) await rm(join(directory, name), { recursive: true, force: true });
  return names;
}
