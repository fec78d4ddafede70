import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { JsonlFile } from "../../lib/report/jsonl-file.js";
import { gitCommit } from "../../lib/train/git-commit.js";
import { lockRun } from "../../lib/train/lock-run.js";
import { RunDirectory } from "../../lib/train/run-directory.js";
import { deterministicFiles, newPath, resumeTiny, runTiny, tinyConfig } from "./tiny-run.js";

describe("a disk that fills up in the middle of a run", () => {
  const disk = dirname(newPath());
  let mounted = false;
  beforeAll(() => {
    mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=16m", "tmpfs", disk]).status === 0;
  });
  afterAll(() => {
    if (mounted) spawnSync("umount", [disk]);
  });

  it("stops the run by name, keeps the last checkpoint, and resume goes on once there is room", async (context) => {
    if (!mounted) {
      context.skip("cannot mount a small tmpfs here: a run on a full disk was NOT verified");
      return;
    }
    const settings = { steps: 4, keepCheckpoints: 1 };
    const reference = await deterministicFiles(await runTiny(tinyConfig(settings)));
    const failures: string[] = [];
    // Less and less room: the run fails at its first, second, ... write until it cannot even begin.
    for (const freeKiB of [400, 300, 200, 150, 100, 60]) {
      const out = join(disk, `run-${freeKiB}`);
      const ballast = join(disk, "ballast");
      await rm(ballast, { force: true });
      const used = spawnSync("df", ["--output=avail", "-k", disk], { encoding: "utf8" }).stdout;
      const available = Number(used.trim().split("\n").at(-1));
      await writeFile(ballast, Buffer.alloc((available - freeKiB) * 1024));
      const config = tinyConfig({ ...settings, out });
      const outcome = await runTiny(config).catch((error: Error & { code: string }) => error);
      if (typeof outcome === "string") continue;
      expect(outcome).toMatchObject({ code: "ERR_WRITE" });
      expect(outcome.message).toContain(out);
      failures.push(outcome.message);
      await rm(ballast);
      const checkpoints = await readdir(join(out, "checkpoints")).catch(() => []);
      if (checkpoints.some((name) => existsSync(join(out, "checkpoints", name, "manifest.json")))) {
        await resumeTiny(out);
        expect(await deterministicFiles(out)).toEqual(reference);
        failures.push("resumed");
      } else await expect(resumeTiny(out)).rejects.toMatchObject({ name: expect.stringMatching(/^C/) });
      await rm(out, { recursive: true });
    }
    expect(failures.length).toBeGreaterThan(2);
    expect(failures).toContain("resumed");
  });
});

describe("what cannot be written", () => {
  it("is named", async () => {
    const path = join(newPath(), "metrics.jsonl");
    await expect(JsonlFile.open(path)).rejects.toMatchObject({ code: "ERR_WRITE" });
    await expect(JsonlFile.open(path)).rejects.toThrow(path);
    const blocked = newPath("file");
    await writeFile(blocked, "");
    const config = tinyConfig({ out: join(blocked, "run") });
    await expect(RunDirectory.create(config.out, { config })).rejects.toMatchObject({ code: "ERR_CONFIG" });
    await expect(lockRun(join(newPath(), "none"))).rejects.toMatchObject({ code: "ERR_WRITE" });
  });
});

describe("lockRun", () => {
  it("keeps others out until it is given back, and takes over from the dead", async () => {
    const directory = dirname(newPath());
    const unlock = await lockRun(directory);
    await expect(lockRun(directory)).rejects.toMatchObject({ code: "ERR_RUN_EXISTS" });
    await expect(lockRun(directory)).rejects.toThrow(`process ${process.pid}`);
    await unlock();
    for (const stale of ["999999999 5\n", `${process.pid} 1\n`, "", "not a lock"]) {
      await writeFile(join(directory, "run.lock"), stale);
      await (await lockRun(directory))();
    }
    expect(await readdir(directory)).toEqual([]);
  });
});

describe("gitCommit", () => {
  it("reads the commit of the repository around a directory", async () => {
    const outside = dirname(newPath());
    expect(await gitCommit(outside)).toBeUndefined();
    const commit = "0123456789abcdef0123456789abcdef01234567";
    const inside = join(outside, "a", "b");
    await mkdir(inside, { recursive: true });
    await mkdir(join(outside, ".git", "refs", "heads"), { recursive: true });
    await writeFile(join(outside, ".git", "HEAD"), "ref: refs/heads/main\n");
    expect(await gitCommit(inside)).toBeUndefined();
    await writeFile(join(outside, ".git", "packed-refs"), `# pack-refs\n${commit} refs/heads/main\n`);
    expect(await gitCommit(inside)).toBe(commit);
    await writeFile(join(outside, ".git", "refs", "heads", "main"), `${commit.replace("0", "f")}\n`);
    expect(await gitCommit(inside)).toBe(commit.replace("0", "f"));
    await writeFile(join(outside, ".git", "HEAD"), `${commit}\n`);
    expect(await gitCommit(inside)).toBe(commit);
  });
});
