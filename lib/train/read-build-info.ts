import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { addonPath } from "../native/addon-path.js";
import { loadNative } from "../native/load.js";
import { packageRoot } from "../native/package-root.js";
import type { BuildInfo } from "./build-info-schema.js";
import { hashFile } from "./checkpoint/hash-file.js";

/** What this process runs: package, Node, platform, kernel tier, addon. @throws NativeError when the addon does not load. */
export async function readBuildInfo(): Promise<BuildInfo> {
  const native = loadNative();
  const manifest = JSON.parse(await readFile(join(packageRoot(), "package.json"), "utf8")) as {
    version: string;
  };
  return {
    version: manifest.version,
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
    isa: native.isa(),
    addon: (await hashFile(addonPath())).sha256,
  };
}
