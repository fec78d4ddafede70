import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll } from "vitest";

const root = join(import.meta.dirname, "../..");

/** Products of this file's tests are those of a stand-in for cuBLASLt on the emulated device. */
export function useFakeCublaslt(): void {
  const directory = mkdtempSync(join(tmpdir(), "echo-grpo-cublaslt-"));
  const library = join(directory, "libfake_cublaslt.so");
  beforeAll(() => {
    const shim = join(root, "tests/native/cuda_shim");
    const flags = [
      "-std=c++20",
      "-O2",
      "-fPIC",
      "-shared",
      "-fvisibility=hidden",
      "-I",
      join(shim, "include"),
    ];
    execFileSync("g++", [...flags, join(shim, "fake_cublaslt.cc"), "-o", library]);
    process.env.ECHO_GRPO_CUBLASLT = library;
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));
}
