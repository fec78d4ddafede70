import { readdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { runCommandLine } from "../../lib/cli/run-command-line.js";
import { newPath, readLines, runTiny, tinyConfig } from "../train/tiny-run.js";

let output: string;
let errors: string;
let directory: string;
beforeEach(() => {
  output = "";
  errors = "";
  directory = dirname(newPath());
  vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    output += text;
    return true;
  });
  vi.spyOn(process.stderr, "write").mockImplementation((text) => {
    errors += text;
    return true;
  });
});
afterEach(() => {
  vi.restoreAllMocks();
});

async function file(value: unknown): Promise<string> {
  const path = join(directory, "config.json");
  await writeFile(path, JSON.stringify(value));
  return path;
}

describe("echo-grpo", () => {
  it("prints help and its version with status 0", async () => {
    expect(await runCommandLine(["--help"])).toBe(0);
    for (const command of ["train", "eval", "doctor"]) expect(output).toContain(command);
    expect(await runCommandLine(["--version"])).toBe(0);
    expect(output).toMatch(/\d+\.\d+\.\d+\n$/);
    expect(await runCommandLine(["train", "--help"])).toBe(0);
    expect(output).toContain("Ctrl-C once");
  });

  it.each([
    [["nonsense"], "unknown command"],
    [["train", "--nonsense"], "unknown option '--nonsense'"],
    [["train", "a", "b"], "too many arguments"],
    [["train"], "expected a configuration file or --resume"],
    [["train", "a.json", "--resume", "r"], "got both"],
    [["train", "--resume", "r", "--seed", "1"], "--resume takes no"],
    [["train", "/nowhere.json"], "/nowhere.json"],
    [["eval", "/nowhere", "--tasks", "many"], '"eval.tasks"'],
    [["eval", "/nowhere", "--split", "test"], '"eval.split"'],
    [["record", "--out", "/tmp/x", "--agent", "me"], "--agent"],
    [["record", "--out", "/tmp/x", "--tasks", "0"], "--tasks"],
    [["record", "--out", "/tmp/x", "--family", "maze/3-3", "--tasks", "99999"], "--tasks: expected at most"],
    [["record"], "--out"],
  ])("ends %j with status 2", async (argv, message) => {
    expect(await runCommandLine(argv)).toBe(2);
    expect(errors).toContain(message);
    expect(errors).not.toContain("    at ");
  });

  it("ends with status 2 on a bad configuration and with 1 on other failures; --debug adds the stack", async () => {
    const bad = await file({ ...tinyConfig(), grupSize: 1 });
    expect(await runCommandLine(["train", bad])).toBe(2);
    expect(errors).toContain(
      'unknown key "grupSize": expected a key of the schema. Did you mean "groupSize"?',
    );
    const missing = await file({ ...tinyConfig(), model: { path: join(directory, "none") } });
    expect(await runCommandLine(["train", missing])).toBe(1);
    expect(errors).toContain(join(directory, "none", "config.json"));
    expect(errors).not.toContain("    at ");
    expect(await runCommandLine(["--debug", "train", missing])).toBe(1);
    expect(errors).toContain("    at ");
    expect(await runCommandLine(["train", "--resume", directory])).toBe(1);
    expect(errors).toContain("holds no run");
  });

  it("prints what a configuration implies and makes nothing with --dry-run", async () => {
    const config = tinyConfig({ out: join(directory, "run") });
    expect(await runCommandLine(["train", await file(config), "--dry-run", "--seed", "9"])).toBe(0);
    expect(JSON.parse(output)).toEqual({ ...config, seed: 9 });
    expect(errors).toContain("16 rollouts per step");
    expect(await readdir(directory)).toEqual(["config.json"]);
  });

  it("trains, evaluates a checkpoint and says when a run is finished", async () => {
    const out = join(directory, "run");
    const config = await file(tinyConfig({ steps: 2 }));
    expect(await runCommandLine(["train", config, "--out", out, "--quiet"])).toBe(0);
    expect(await runCommandLine(["train", "--resume", out])).toBe(0);
    expect(errors).toContain(`${out} is finished: step 2 of 2`);
    const flags = ["--family", "maze/3-3", "--tasks", "8", "--expert-tasks", "4", "--json"];
    const checkpoint = join(out, "checkpoints", "step-2");
    expect(await runCommandLine(["eval", checkpoint, ...flags])).toBe(0);
    const measured = JSON.parse(output);
    expect(measured).toMatchObject({ exact: true, "eval/observation_floor": 0 });
    expect(measured["eval/success"]).toBeGreaterThanOrEqual(0);
    expect(measured["eval/observation_nll"]).toBeGreaterThan(0);
    output = "";
    expect(await runCommandLine(["eval", join(checkpoint, "model"), ...flags])).toBe(0);
    expect(JSON.parse(output)).toEqual(measured);
    await writeFile(join(checkpoint, "model", "config.json"), "{}");
    expect(await runCommandLine(["eval", checkpoint, ...flags])).toBe(1);
    expect(errors).toContain("model/config.json");
  });

  it("agrees with the run's own evaluation", async () => {
    const settings = { every: 2, tasks: 8, expertTasks: 4 };
    const config = tinyConfig({ steps: 2, eval: settings, out: join(directory, "run") });
    await runTiny(config);
    const flags = ["--family", "maze/3-3", "--tasks", "8", "--expert-tasks", "4", "--seed", "7"];
    const argv = ["eval", join(config.out, "checkpoints", "step-2"), ...flags];
    expect(await runCommandLine([...argv, "--json"])).toBe(0);
    const measured = JSON.parse(output);
    const last = (await readLines<Record<string, unknown>>(config.out, "metrics.jsonl"))[2];
    for (const key of ["eval/success", "eval/observation_nll"]) expect(measured[key]).toBe(last[key]);
    output = "";
    expect(await runCommandLine(argv)).toBe(0);
    expect(output).toMatch(/^success {11}\d+\.\d %/);
    expect(output).toMatch(/observation nll {3}\d+\.\d{4} nats per token/);
  });

  it("doctor names what it found", async () => {
    expect([0, 1]).toContain(await runCommandLine(["doctor"]));
    expect(output).toContain(process.version);
    expect(output).toMatch(/addon .*echo_grpo\.node, tier (scalar|avx2|avx512)/);
    expect(output).toMatch(/off {2}cuda .*this version has no CUDA library/);
    expect(output).toMatch(/(ok {3}|bad ) ?sandbox/);
    expect(output).toMatch(/MiB free/);
  });
});
