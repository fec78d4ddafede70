import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { SandboxError } from "../errors/sandbox-error.js";

// Two folders up is the package root, from lib/ as from dist/; the build puts the executable beside the addon.
const besideTheAddon = fileURLToPath(new URL("../../build/Release/echo_grpo_sandbox", import.meta.url));

/** Path of the supervisor's executable. @throws SandboxError `ERR_SANDBOX_START` when there is none, saying what mends it. */
export function findSupervisor(path = besideTheAddon, platform: string = process.platform): string {
  if (platform !== "linux") {
    throw new SandboxError(
      "ERR_SANDBOX_START",
      `[sandbox] unsupported platform: expected linux, got ${platform}. The local sandbox needs Linux; the maze runs anywhere.`,
    );
  }
  if (existsSync(path)) return path;
  throw new SandboxError(
    "ERR_SANDBOX_START",
    `[sandbox] the supervisor is missing: expected an executable at ${path}. Build it with: npm run build:native`,
  );
}
