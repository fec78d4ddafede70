import { SandboxError } from "../errors/sandbox-error.js";

/** @throws SandboxError `ERR_SANDBOX_PATH` unless the path is relative and stays below the root as it is written. */
export function checkSandboxPath(path: string): void {
  const ok =
    !path.includes("\0") && path.split("/").every((part) => part !== "" && part !== "." && part !== "..");
  if (ok) return;
  throw new SandboxError(
    "ERR_SANDBOX_PATH",
    `[sandbox] unusable path: expected one relative to the sandbox root, without "." and "..", got ${JSON.stringify(path)}`,
  );
}
