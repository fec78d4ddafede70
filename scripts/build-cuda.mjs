// Builds build/Release/libecho_grpo_cuda.so with cmake-js, or with cmake where the package is installed without it. Says in one sentence what is
// missing. Arguments go to the configuration: -DECHO_CUDA_ARCHITECTURES=90 compiles for one architecture.
import { spawnSync } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { delimiter, dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const build = join(root, "build-cuda");
const library = join(root, "build", "Release", "libecho_grpo_cuda.so");
const options = process.argv.slice(2);

function fail(message) {
  console.error(`[build:cuda] The CUDA library was not built: ${message}`);
  process.exit(1);
}

const starts = (command) => spawnSync(command, ["--version"], { stdio: "ignore" }).status === 0;
// With its folder: cmake takes a bare name for one in the folder where it builds.
const onPath = (command) =>
  (process.env.PATH ?? "")
    .split(delimiter)
    .map((each) => join(each, command))
    .find((file) => existsSync(file) && starts(file));
const folder = join(process.env.CUDA_HOME || process.env.CUDA_PATH || "/usr/local/cuda", "bin");
const named = options.find((option) => option.startsWith("-DECHO_NVCC="))?.slice("-DECHO_NVCC=".length);
const nvcc = named ?? onPath("nvcc") ?? [join(folder, "nvcc")].find(starts);
if (nvcc === undefined || !starts(nvcc))
  fail(
    `there is no nvcc: expected ${named ?? `it on the PATH or in ${folder}`}. Install the CUDA toolkit, 13.0 or newer (CUDA_HOME says where it is); a driver and a GPU are not needed to build.`,
  );
if (named === undefined) options.push(`-DECHO_NVCC=${nvcc}`);
if (!starts("cmake")) fail("there is no cmake: expected version 3.20 or newer. Debian, Ubuntu: apt-get install cmake.");

function run(command, args) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: "inherit" });
  if (error) fail(`${command} does not start: ${error.message}.`);
  if (status !== 0) fail(`${command} ended with status ${status}; what it said is above.`);
}

let cmakeJs;
try {
  cmakeJs = join(dirname(createRequire(import.meta.url).resolve("cmake-js/package.json")), "bin", "cmake-js");
} catch {
  cmakeJs = undefined;
}
const started = performance.now();
const jobs = `${availableParallelism()}`;
if (cmakeJs === undefined) {
  run("cmake", ["-S", root, "-B", build, "-DECHO_CUDA=ON", ...options]);
  run("cmake", ["--build", build, "--target", "echo_grpo_cuda", "--parallel", jobs]);
} else {
  const settings = ["-DECHO_CUDA=ON", ...options].map((option) => option.replace(/^-D/, "--CD"));
  const common = [cmakeJs, "compile", "--out", build, "--parallel", jobs, "--log-level", "warn"];
  run(process.execPath, [...common, "--target", "echo_grpo_cuda", ...settings]);
}
if (!existsSync(library)) fail(`cmake wrote no ${library}.`);
const size = (statSync(library).size / 2 ** 20).toFixed(1);
console.log(
  `built ${relative(root, library)}, ${size} MiB, in ${((performance.now() - started) / 1000).toFixed(1)} s`,
);
