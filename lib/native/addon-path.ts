import { existsSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "./package-root.js";
import { platformPackage } from "./platform-package.js";

let found: string | undefined;

/**
 * The native addon: what was built here, else what the package for this platform holds. Without either, where a build would put it. The
 * sandbox's supervisor lies beside it.
 */
export function addonPath(): string {
  if (found) return found;
  const built = join(packageRoot(), "build", "Release", "echo_grpo.node");
  const packaged = existsSync(built) ? undefined : platformPackage();
  const path = packaged === undefined ? built : join(packaged.directory, "echo_grpo.node");
  if (!existsSync(path)) return built;
  found = path;
  return path;
}
