import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { readGpuResults } from "../../bench/gpu-results.js";

const root = join(import.meta.dirname, "../..");
const directory = mkdtempSync(join(tmpdir(), "echo-grpo-gpu-run-"));
const build = join(directory, "build");
const out = join(directory, "out");
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function program(name: string, text: string, status: number): void {
  mkdirSync(build, { recursive: true });
  writeFileSync(join(build, name), `#!/bin/bash\necho '${text}'\nexit ${status}\n`);
  chmodSync(join(build, name), 0o755);
}

/** The script on a machine with a device, or one without, as far as nvidia-smi tells. */
function runOn(machine: "device" | "none", to: string, stages: string[]) {
  program("nvidia-smi", "GPU 0", machine === "device" ? 0 : 6);
  const env = { ...process.env, PATH: `${build}:${process.env.PATH}` };
  const given = ["--out", to, "--build", build, ...stages];
  return spawnSync(join(root, "tests/gpu/run.sh"), given, { env, encoding: "utf8" });
}

const run = (...stages: string[]): number | null => runOn("device", out, stages).status;

it("keeps the result of one bench when the other fails, and of an earlier run none", () => {
  program("loss_bench", '{"device": "Device", "measurements": []}', 0);
  program("optim_bench", '{"device": "Device", "measurements": []}', 0);
  expect(run("bench")).toBe(0);
  expect(readGpuResults(out)).toMatchObject({
    stages: [{ stage: "bench", result: "passed" }],
    kernels: { device: "Device" },
    optimizer: { device: "Device" },
  });

  program("loss_bench", '{"device": "Device", "measurements": [', 1);
  expect(run("bench")).toBe(1);
  const { stages, kernels, optimizer } = readGpuResults(out);
  expect(stages).toMatchObject([{ stage: "bench", result: "failed" }]);
  expect(kernels).toBeUndefined();
  expect(optimizer).toMatchObject({ device: "Device" });
  expect(readdirSync(out).filter((name) => name.endsWith(".part"))).toEqual([]);

  program("loss_bench", '{"device": "Device", "measurements": []}', 0);
  program("optim_bench", "", 139);
  expect(run("bench")).toBe(1);
  expect(existsSync(join(out, "optim.json"))).toBe(false);
  expect(readGpuResults(out).kernels).toBeDefined();
});

it.skipIf(existsSync("/dev/nvidia0"))("skips loudly what needs a device where there is none", () => {
  const there = join(directory, "none");
  const stages = ["loss", "bench", "peers"];
  const result = runOn("none", there, stages);
  expect(result.status).toBe(0);
  for (const stage of stages)
    expect(result.stdout).toContain(`NOT VERIFIED: ${stage} (there is no GPU on this machine)`);
  expect(readGpuResults(there).stages).toMatchObject(stages.map((stage) => ({ stage, result: "skipped" })));
});

it("refuses a stage that there is not", () => {
  expect(run("benches")).toBe(2);
});
