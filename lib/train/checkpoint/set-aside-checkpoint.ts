import { access, rename } from "node:fs/promises";

/** Renames a checkpoint that cannot be used to `step-N.corrupt` (or `.corrupt-2`, ...), so that the run can write step N anew. */
export async function setAsideCheckpoint(path: string): Promise<string> {
  for (let i = 1; ; i++) {
    const aside = i === 1 ? `${path}.corrupt` : `${path}.corrupt-${i}`;
    const taken = await access(aside).then(
      () => true,
      () => false,
    );
    if (taken) continue;
    await rename(path, aside);
    return aside;
  }
}
