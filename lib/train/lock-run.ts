import { readFileSync } from "node:fs";
import { link, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ConfigError } from "../errors/config-error.js";
import { WriteError } from "../errors/write-error.js";

/** When a process started, in the kernel's ticks: tells it from a later one with the same id. Empty where /proc is absent. */
function startTime(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "";
  } catch {
    return "";
  }
}

function lives(owner: string): boolean {
  const [pid, started] = owner.trim().split(" ");
  if (!/^[1-9][0-9]*$/.test(pid)) return false;
  try {
    process.kill(Number(pid), 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EPERM") return false;
  }
  return (started ?? "") === startTime(Number(pid));
}

/**
 * Makes this process the only one that writes to a run directory, by a file `run.lock`. The lock of a dead process is taken over.
 *
 * @returns a function that gives the lock back.
 * @throws ConfigError ERR_RUN_EXISTS when a living process holds it; WriteError ERR_WRITE.
 */
export async function lockRun(directory: string): Promise<() => Promise<void>> {
  const path = join(directory, "run.lock");
  // Written beside and linked into place, so that nobody ever sees a lock without its owner.
  const own = `${path}.${process.pid}`;
  for (let attempt = 0; attempt < 2; attempt++) {
    try {
      await writeFile(own, `${process.pid} ${startTime(process.pid)}\n`);
      await link(own, path);
      return () => rm(path, { force: true });
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== "EEXIST")
        throw new WriteError("ERR_WRITE", `[run] cannot write ${path}: ${(cause as Error).message}.`, {
          cause,
        });
    } finally {
      await rm(own, { force: true });
    }
    const owner = await readFile(path, "utf8").catch(() => "");
    if (lives(owner))
      throw new ConfigError(
        "ERR_RUN_EXISTS",
        `[run] ${directory} is in use: expected no other trainer, got process ${owner.split(" ")[0]}. Wait for it or stop it.`,
      );
    await rm(path, { force: true });
  }
  throw new ConfigError("ERR_RUN_EXISTS", `[run] ${directory} is being taken by another trainer. Try again.`);
}
