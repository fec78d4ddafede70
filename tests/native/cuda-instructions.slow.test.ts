import { execFile, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, describe, expect, it } from "vitest";

const root = join(import.meta.dirname, "../..");
const directory = mkdtempSync(join(tmpdir(), "echo-grpo-cuda-"));
const { cuda } = JSON.parse(readFileSync(join(root, "native/sources.json"), "utf8")) as {
  cuda: { flags: string[]; units: string[] };
};
const nvcc = spawnSync("nvcc", ["--version"]).status === 0;
if (!nvcc)
  console.warn("NOT VERIFIED: what instructions the CUDA kernels are made of (nvcc is not on this machine)");

afterAll(() => rmSync(directory, { recursive: true, force: true }));

const run = promisify(execFile);

async function ptxOf(unit: string, architecture: string): Promise<string> {
  const file = join(directory, `${basename(unit)}-${architecture}.ptx`);
  const flags = cuda.flags.filter((flag) => !flag.startsWith("-Xptxas"));
  await run("nvcc", [...flags, `-arch=sm_${architecture}`, "-ptx", join(root, unit), "-o", file]);
  return readFileSync(file, "utf8");
}

describe.skipIf(!nvcc)("the CUDA kernels by nvcc", () => {
  it.each(cuda.units.filter((unit) => unit.endsWith(".cu")))(
    "have neither float64 nor float atomics, and move vectors: %s",
    { timeout: 300_000 },
    async (unit) => {
      for (const architecture of ["80", "90"]) {
        const ptx = await ptxOf(unit, architecture);
        if (!ptx.includes(".entry")) continue;
        expect(ptx.match(/\.f64/g)).toBeNull();
        expect(ptx.match(/\b(atom|red)\.[a-z.]*\.f(16|32|64)/g)).toBeNull();
        const clusters = ptx.match(/\bbarrier\.cluster\.(arrive|wait)/g)?.length ?? 0;
        if (architecture === "80") expect(clusters).toBe(0);
        for (const [, name, body] of ptx.matchAll(/\.entry (\w+)\(([\s\S]*?)\n}/g)) {
          if (/resident|streaming_loss|adamw/.test(name)) {
            expect(body.match(/\bld\.global[.a-z0-9]*\.v4\.[fbu]32/g), name).not.toBeNull();
            expect(body.match(/\bst\.global[.a-z0-9]*\.v4\.[fbu]32/g), name).not.toBeNull();
          }
          if (/statistics_rows|sum_of_squares/.test(name))
            expect(body.match(/\bld\.global[.a-z0-9]*\.v4\.[fbu]32/g), name).not.toBeNull();
          if (architecture === "90" && name.includes("resident_block_rows"))
            expect(body.match(/\bbarrier\.cluster\.(arrive|wait)/g)?.length, name).toBeGreaterThanOrEqual(4);
        }
      }
    },
  );
});
