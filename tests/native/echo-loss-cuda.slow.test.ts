import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const root = join(import.meta.dirname, "../..");
const directory = mkdtempSync(join(tmpdir(), "echo-grpo-cuda-"));
const { cuda } = JSON.parse(readFileSync(join(root, "native/sources.json"), "utf8")) as {
  cuda: { architectures: string[]; flags: string[]; units: string[] };
};

afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe("echo_loss.cu on fibers", () => {
  const program = join(directory, "shim");

  beforeAll(() => {
    const source = "tests/native/cuda_shim/echo_loss_shim_test.cc";
    const flags = ["-std=c++20", "-O2", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror"];
    execFileSync("g++", [...flags, source, "-o", program], { cwd: root, stdio: "pipe" });
  });

  it("equals the float64 reference under every schedule, to the same bits", () => {
    const { status, stdout, stderr } = spawnSync(program, { encoding: "utf8" });
    expect(stderr).toBe("");
    expect(stdout).toMatch(/: 0 failures/);
    expect(status).toBe(0);
  });

  it.each(
    [1, 2].flatMap((barrier) => [
      [barrier, "reversed"],
      [barrier, "random"],
    ]),
  )("fails without barrier %i under the %s schedule", (barrier, schedule) => {
    const { status, stdout } = spawnSync(program, ["--delete-barrier", `${barrier}`, `${schedule}`], {
      encoding: "utf8",
    });
    expect(stdout).toMatch(/: [1-9]\d* failures/);
    expect(status).toBe(1);
  });
});

const nvcc = spawnSync("nvcc", ["--version"]).status === 0;
if (!nvcc)
  console.warn(
    "NOT VERIFIED: that native/loss/echo_loss.cu compiles for a GPU (nvcc is not on this machine)",
  );

describe.skipIf(!nvcc).each(cuda.architectures)("echo_loss.cu by nvcc for sm_%s", (architecture) => {
  const unit = join(root, cuda.units[0]);

  it("takes few registers and spills none", () => {
    const object = join(directory, `sm${architecture}.o`);
    const { status, stderr } = spawnSync(
      "nvcc",
      [...cuda.flags, `-arch=sm_${architecture}`, "-c", unit, "-o", object],
      { encoding: "utf8" },
    );
    expect(status, stderr).toBe(0);
    const kernels = [...stderr.matchAll(/Compiling entry function '(\w+)'/g)].map(([, name]) => name);
    expect(kernels.map((name) => /echo_loss_rowsILi(\d+)E/.exec(name)?.[1]).sort()).toEqual(["1024", "512"]);
    const registers = [...stderr.matchAll(/Used (\d+) registers/g)].map(([, count]) => Number(count));
    expect(registers).toHaveLength(2);
    // A multiprocessor has 65,536: with 64 it holds 1024 threads, whose loads in flight are enough for its share of the bandwidth.
    for (const count of registers) expect(count).toBeLessThanOrEqual(64);
    const memory = [
      ...stderr.matchAll(/(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads/g),
    ];
    expect(memory.length).toBeGreaterThan(0);
    for (const match of memory) expect(match.slice(1)).toEqual(["0", "0", "0"]);
  });

  it("has no float64, no atomics, and vector loads and stores", () => {
    const file = join(directory, `sm${architecture}.ptx`);
    const flags = cuda.flags.filter((flag) => !flag.startsWith("-Xptxas"));
    execFileSync("nvcc", [...flags, `-arch=sm_${architecture}`, "-ptx", unit, "-o", file], { stdio: "pipe" });
    const ptx = readFileSync(file, "utf8");
    expect(ptx.match(/\.f64/g)).toBeNull();
    expect(ptx.match(/\b(atom|red)\./g)).toBeNull();
    expect(ptx.match(/\bld\.global[.a-z0-9]*\.v4\.[fb]32/g)?.length).toBeGreaterThanOrEqual(4);
    expect(ptx.match(/\bst\.global[.a-z0-9]*\.v4\.[fb]32/g)?.length).toBeGreaterThanOrEqual(4);
    expect(ptx.match(/\bex2\.approx\.ftz\.f32/g)?.length).toBeGreaterThanOrEqual(8);
    expect(ptx.match(/\bbar\.sync/g)?.length).toBeGreaterThanOrEqual(2);
  });
});
