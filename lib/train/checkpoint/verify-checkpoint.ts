import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { CheckpointError } from "../../errors/checkpoint-error.js";
import { hashFile } from "./hash-file.js";
import { listFiles } from "./list-files.js";
import { type Manifest, manifestSchema } from "./manifest-schema.js";

/**
 * Reads a checkpoint's manifest and every file it names.
 * @throws CheckpointError ERR_CHECKPOINT_CORRUPT naming the first file that is missing, torn, changed or not in the manifest.
 */
export async function verifyCheckpoint(directory: string): Promise<Manifest> {
  const corrupt = (what: string, cause?: unknown): CheckpointError =>
    new CheckpointError(
      "ERR_CHECKPOINT_CORRUPT",
      `[checkpoint] ${directory} is not usable: ${what}. It is left as it is; use another checkpoint.`,
      { cause },
    );
  let manifest: Manifest;
  try {
    manifest = manifestSchema.parse(JSON.parse(await readFile(join(directory, "manifest.json"), "utf8")));
  } catch (cause) {
    throw corrupt("expected a manifest.json, got one that is missing, torn or malformed", cause);
  }
  if (!directory.endsWith(`step-${manifest.step}`))
    throw corrupt(`expected a directory named step-${manifest.step}, as its manifest says`);
  const named = new Set(manifest.files.map((file) => file.path));
  const present = await listFiles(directory);
  const stranger = present.files.find((path) => path !== "manifest.json" && !named.has(path));
  if (stranger !== undefined) throw corrupt(`${stranger} is not in its manifest`);
  for (const file of manifest.files) {
    const got = await hashFile(join(directory, file.path)).catch((cause: unknown) => {
      throw corrupt(`${file.path} cannot be read`, cause);
    });
    if (got.bytes !== file.bytes)
      throw corrupt(`${file.path}: expected ${file.bytes} bytes, got ${got.bytes}`);
    if (got.sha256 !== file.sha256) throw corrupt(`${file.path}: its SHA-256 differs from the manifest's`);
  }
  return manifest;
}
