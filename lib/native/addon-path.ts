import { join } from "node:path";
import { packageRoot } from "./package-root.js";

/** Where the build puts the native addon. */
export function addonPath(): string {
  return join(packageRoot(), "build", "Release", "echo_grpo.node");
}
