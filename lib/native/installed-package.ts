import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname } from "node:path";

/** An installed optional package that holds something native prebuilt. */
export interface InstalledPackage {
  name: string;
  version: string;
  directory: string;
}

/** A package by its name, if it is installed. Opens nothing native. */
export function installedPackage(name: string): InstalledPackage | undefined {
  let manifest: string;
  try {
    manifest = createRequire(import.meta.url).resolve(`${name}/package.json`);
  } catch {
    return undefined;
  }
  const { version } = JSON.parse(readFileSync(manifest, "utf8")) as { version: string };
  return { name, version, directory: dirname(manifest) };
}
