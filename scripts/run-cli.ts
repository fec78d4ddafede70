import { spawnSync } from "node:child_process";

/** Runs an echo-grpo command with its output shown. @throws Error when it fails or is stopped. */
export function runCli(...args: string[]): void {
  const { status, signal } = spawnSync(process.execPath, ["dist/cli/main.js", ...args], {
    stdio: ["ignore", "inherit", "inherit"],
  });
  if (status !== 0)
    throw new Error(
      `echo-grpo ${args.join(" ")} ended with ${signal ?? status}; run this again to go on where it stopped.`,
    );
}
