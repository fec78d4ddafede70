import { execFile, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, describe, expect, it } from "vitest";

const root = join(import.meta.dirname, "../..");
const directory = mkdtempSync(join(tmpdir(), "echo-grpo-cuda-"));
const { cuda } = JSON.parse(readFileSync(join(root, "native/sources.json"), "utf8")) as {
  cuda: { architectures: string[]; flags: string[]; units: string[] };
};
/** Most registers of each kernel over all architectures, by nvcc 13.0: what `nvcc -Xptxas -v` says of it. */
const table = JSON.parse(readFileSync(join(import.meta.dirname, "cuda-registers.json"), "utf8")) as Record<
  string,
  number
>;
const version = /release (\d+\.\d+)/.exec(
  spawnSync("nvcc", ["--version"], { encoding: "utf8" }).stdout ?? "",
);
if (!version)
  console.warn("NOT VERIFIED: that the CUDA kernels compile for a GPU (nvcc is not on this machine)");

afterAll(() => rmSync(directory, { recursive: true, force: true }));

interface Kernel {
  name: string;
  registers: number;
  local: number;
}

const run = promisify(execFile);

async function compile(unit: string, architecture: string): Promise<Kernel[]> {
  const object = join(directory, `${basename(unit)}-${architecture}.o`);
  const { stderr } = await run(
    "nvcc",
    [...cuda.flags, `-arch=sm_${architecture}`, "-c", join(root, unit), "-o", object],
    { maxBuffer: 1 << 26 },
  );
  const kernels: Kernel[] = [];
  for (const line of stderr.split("\n")) {
    const entry = /Compiling entry function '(\w+)'/.exec(line);
    if (entry) kernels.push({ name: entry[1], registers: 0, local: 0 });
    const kernel = kernels.at(-1);
    const memory = /(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads/.exec(line);
    if (kernel && memory) kernel.local += Number(memory[1]) + Number(memory[2]) + Number(memory[3]);
    const registers = /Used (\d+) registers/.exec(line);
    if (kernel && registers) kernel.registers = Number(registers[1]);
  }
  return kernels;
}

async function ptxOf(unit: string, architecture: string): Promise<string> {
  const file = join(directory, `${basename(unit)}-${architecture}.ptx`);
  const flags = cuda.flags.filter((flag) => !flag.startsWith("-Xptxas"));
  await run("nvcc", [...flags, `-arch=sm_${architecture}`, "-ptx", join(root, unit), "-o", file]);
  return readFileSync(file, "utf8");
}

describe.skipIf(!version)("the CUDA kernels by nvcc", () => {
  it.each(cuda.architectures)(
    "keep to their registers and spill none for sm_%s",
    { timeout: 1_200_000 },
    async (architecture) => {
      const found: Record<string, number> = {};
      const queue = [...cuda.units];
      const work = async (): Promise<void> => {
        for (let unit = queue.shift(); unit !== undefined; unit = queue.shift())
          for (const kernel of await compile(unit, architecture)) {
            expect(kernel.local, `${kernel.name} uses local memory`).toBe(0);
            found[kernel.name] = kernel.registers;
          }
      };
      await Promise.all([work(), work()]);
      expect(Object.keys(found).sort()).toEqual(Object.keys(table).sort());
      // Another compiler allocates otherwise; what it may not do is spill, which the flags forbid.
      if (version?.[1] === "13.0")
        for (const [name, registers] of Object.entries(found))
          expect(registers, name).toBeLessThanOrEqual(table[name]);
    },
  );

  it.each(cuda.units)(
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
