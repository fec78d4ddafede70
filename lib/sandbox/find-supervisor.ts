import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { SandboxError } from "../errors/sandbox-error.js";
import { addonPath } from "../native/addon-path.js";

const besideTheAddon = (): string => join(dirname(addonPath()), "echo_grpo_sandbox");

/** Path of the supervisor's executable. @throws SandboxError `ERR_SANDBOX_START` when there is none, saying what mends it. */
export function findSupervisor(path?: string, platform: string = process.platform): string {
  if (platform !== "linux") {
    throw new SandboxError(
      "ERR_SANDBOX_START",
      `[sandbox] unsupported platform: expected linux, got ${platform}. The local sandbox needs Linux; the maze runs anywhere.`,
    );
  }
  const supervisor = path ?? besideTheAddon();
  if (existsSync(supervisor)) return supervisor;
  throw new SandboxError(
    "ERR_SANDBOX_START",
    `[sandbox] the supervisor is missing: expected an executable at ${supervisor}. Build it with: npm run build:native`,
  );
}
