import { execFileSync } from "node:child_process";
import { cpus, loadavg, totalmem } from "node:os";
import { loadNative } from "../lib/native/load.js";

/** What the numbers were measured on. */
export interface Machine {
  cpu: string;
  cores: number;
  memoryGiB: number;
  node: string;
  platform: string;
  /** Commit of the working tree, with `+` when it has changes; absent outside a repository. */
  commit?: string;
  isa: string;
  threads: number;
  /** Processes that wanted a core, averaged over the last minute, when the benchmarks began. */
  loadAverage: number;
}

/** Describes this machine and this build. */
export function machine(): Machine {
  const native = loadNative();
  const commit = git("rev-parse", "--short", "HEAD");
  const dirty = commit !== undefined && git("status", "--porcelain", "--untracked-files=no") !== "";
  return {
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
    ...(commit === undefined ? {} : { commit: dirty ? `${commit}+` : commit }),
    isa: native.isa(),
    threads: native.threads(),
    loadAverage: Math.round(loadavg()[0] * 100) / 100,
  };
}

function git(...args: string[]): string | undefined {
  try {
    return execFileSync("git", args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  } catch {
    return undefined;
  }
}
