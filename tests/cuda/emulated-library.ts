import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join, relative } from "node:path";
import { promisify } from "node:util";

const root = join(import.meta.dirname, "../..");
const shim = join(root, "tests/native/cuda_shim");

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .sort();
}

async function inParallel<T>(jobs: readonly T[], run: (job: T) => Promise<unknown>): Promise<void> {
  const left = [...jobs];
  const worker = async (): Promise<void> => {
    for (let job = left.shift(); job !== undefined; job = left.shift()) await run(job);
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
}

/**
 * The CUDA library on the emulated runtime: compiled from the sources of the real one, again only when one of them has changed.
 * @returns its absolute path.
 */
export async function emulatedLibrary(): Promise<string> {
  const { cuda } = JSON.parse(readFileSync(join(root, "native/sources.json"), "utf8")) as {
    cuda: { units: string[]; emulatedFlags: string[] };
  };
  const hash = createHash("sha256").update(JSON.stringify(cuda));
  for (const file of [...filesBelow(join(root, "native")), ...filesBelow(shim)])
    if (/\.(cu|h|map)$/.test(file) || cuda.units.includes(relative(root, file)))
      hash.update(`${relative(root, file)}\0`).update(readFileSync(file));
  const folder = join(root, "build", "cuda-emulated");
  const library = join(folder, `${hash.digest("hex").slice(0, 16)}.so`);
  if (existsSync(library)) return library;

  mkdirSync(folder, { recursive: true });
  const work = mkdtempSync(join(folder, "work-"));
  try {
    const gcc = promisify(execFile);
    const object = (unit: string): string => join(work, `${unit.replaceAll("/", "_")}.o`);
    const flags = [...cuda.emulatedFlags, "-fPIC", "-I", join(shim, "include"), "-x", "c++"];
    await inParallel(cuda.units, (unit) =>
      gcc("g++", [...flags, "-c", join(root, unit), "-o", object(unit)], { cwd: root }),
    );
    const exports = `-Wl,--version-script=${join(root, "native/cuda/exports.map")},-Bsymbolic,-z,defs`;
    const made = join(work, "made.so");
    await gcc("g++", ["-shared", ...cuda.units.map(object), "-o", made, exports, "-lpthread", "-ldl"]);
    renameSync(made, library);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  for (const old of readdirSync(folder))
    if (old.endsWith(".so") && join(folder, old) !== library) rmSync(join(folder, old));
  return library;
}
