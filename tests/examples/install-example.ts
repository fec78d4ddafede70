import { spawn } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";

const UNREACHABLE = /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH/;

/**
 * Installs the packages an example brings for itself, unless they are there.
 * @returns its folder; undefined where the npm registry cannot be reached, after saying what is then not verified.
 */
export async function installExample(name: string, unverified: string): Promise<string | undefined> {
  const folder = join(import.meta.dirname, "..", "..", "examples", name);
  const wanted = join(folder, "package-lock.json");
  const installed = join(folder, "node_modules", ".package-lock.json");
  const linked = join(folder, "node_modules", "echo-grpo");
  if (existsSync(installed) && existsSync(linked) && statSync(installed).mtimeMs > statSync(wanted).mtimeMs)
    return folder;
  const npm = spawn("npm", ["ci", "--no-audit", "--no-fund"], {
    cwd: folder,
    stdio: ["ignore", "ignore", "pipe"],
  });
  let said = "";
  npm.stderr.on("data", (chunk: Buffer) => {
    said += chunk;
  });
  const status = await new Promise((resolve, reject) => {
    npm.once("error", reject);
    npm.once("close", resolve);
  });
  if (status === 0) return folder;
  if (!UNREACHABLE.test(said)) throw new Error(`npm ci in ${folder} failed:\n${said}`);
  console.warn(`NOT VERIFIED: ${unverified}. The npm registry cannot be reached from here.`);
  return undefined;
}
