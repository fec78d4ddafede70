import { open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";

/** Largest single write: one call takes at most 2^31 - 1 bytes. */
const MAX_WRITE_BYTES = 2 ** 30;

/**
 * Replaces a file so that, whatever dies when, the path holds either the old content or the whole new one: written beside it, synced,
 * renamed, and the directory synced.
 */
export async function writeFileDurably(path: string, chunks: Iterable<Uint8Array>): Promise<void> {
  const temporary = `${path}.tmp`;
  try {
    const file = await open(temporary, "w");
    try {
      for (const chunk of chunks)
        for (let done = 0; done < chunk.length; ) {
          const { bytesWritten } = await file.write(
            chunk,
            done,
            Math.min(chunk.length - done, MAX_WRITE_BYTES),
          );
          done += bytesWritten;
        }
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  const directory = await open(dirname(path), "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
