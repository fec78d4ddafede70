// Packs npm/cuda-linux-x64-gnu with build/Release/libecho_grpo_cuda.so, as npm run build:cuda left it, into release/ (or the folder given). Refuses a
// library that exports more than its one function or needs more than the C library.
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const release = resolve(process.argv[2] ?? join(root, "release"));
const name = "libecho_grpo_cuda.so";
const library = resolve(process.env.ECHO_GRPO_CUDA_LIBRARY || join(root, "build", "Release", name));

function fail(message) {
  console.error(`[pack:cuda] ${message}`);
  process.exit(1);
}

if (!existsSync(library)) fail(`there is no library: expected ${library}. Run npm run build:cuda.`);
const text = execFileSync("objdump", ["-p", "-T", library], { encoding: "utf8", maxBuffer: 1 << 28 });
const foreign = [...text.matchAll(/NEEDED\s+(\S+)/g)]
  .map(([, file]) => file)
  .filter((file) => !/^(lib(c|m|dl|rt|pthread)\.|ld-)/.test(file));
if (foreign.length > 0) fail(`the library needs ${foreign.join(", ")}: expected the C library alone.`);
const exported = execFileSync("nm", ["-D", "--defined-only", library], { encoding: "utf8" })
  .split("\n")
  .flatMap((line) => /^[0-9a-f]+ [A-Z] ([^@\s]+)/.exec(line)?.[1] ?? []);
if (exported.join() !== "echo_grpo_cuda_api")
  fail(`the library exports ${exported.join(", ") || "nothing"}: expected echo_grpo_cuda_api alone.`);
const versions = [...text.matchAll(/GLIBC_2\.(\d+)/g)].map(([, minor]) => Number(minor));
const glibc = `2.${Math.max(...versions)}`;

const work = mkdtempSync(join(tmpdir(), "echo-grpo-cuda-package-"));
try {
  const folder = join(work, "package");
  cpSync(join(root, "npm", "cuda-linux-x64-gnu"), folder, { recursive: true });
  cpSync(join(root, "LICENSE"), join(folder, "LICENSE"));
  cpSync(library, join(folder, name), { dereference: true });
  const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  manifest.version = JSON.parse(readFileSync(join(root, "package.json"), "utf8")).version;
  manifest.config = { glibc: `>=${glibc}` };
  writeFileSync(join(folder, "package.json"), `${JSON.stringify(manifest, null, 2)}\n`);
  mkdirSync(release, { recursive: true });
  const args = ["pack", folder, "--json", "--ignore-scripts", "--pack-destination", release];
  const [{ filename, size }] = JSON.parse(execFileSync("npm", args, { cwd: work, encoding: "utf8" }));
  console.log(
    `packed ${relative(process.cwd(), join(release, filename))}, ${Math.round(size / 1024)} KiB, needs glibc ${glibc} or newer`,
  );
} finally {
  rmSync(work, { recursive: true, force: true });
}
