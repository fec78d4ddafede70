// Builds build/Release/echo_grpo.node with node-gyp. One line when it works; when it does not: what was tried, what was found, what
// mends it. Skips when nothing that decides the result has changed.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { homedir } from "node:os";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const addon = join(root, "build", "Release", "echo_grpo.node");
const stamp = join(root, "build", "echo-grpo.stamp");

function files(directory) {
  return readdirSync(directory, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .sort();
}

function fingerprint() {
  const hash = createHash("sha256");
  const inputs = [...files(join(root, "native")), join(root, "binding.gyp"), fileURLToPath(import.meta.url)];
  for (const file of inputs) hash.update(`${relative(root, file)}\0`).update(readFileSync(file)).update("\0");
  for (const name of ["CC", "CXX", "CFLAGS", "CXXFLAGS", "LDFLAGS"]) hash.update(`${process.env[name]}\0`);
  return hash.update(`${process.arch} ${process.platform} ${process.version}`).digest("hex");
}

function version(command) {
  const result = spawnSync(command, ["--version"], { encoding: "utf8" });
  if (result.error) return "not found";
  return (result.stdout || result.stderr).split("\n")[0].trim() || `exit status ${result.status}`;
}

/** Where the C headers of this Node are, and what was looked at. */
function findHeaders(env) {
  const beside = resolve(dirname(process.execPath), "..");
  const besideFile = join(beside, "include", "node", "common.gypi");
  const tried = [besideFile];
  if (existsSync(besideFile)) return { nodedir: beside, found: besideFile, tried };
  const configured = [
    "npm_package_config_node_gyp_nodedir",
    "npm_config_node_gyp_nodedir",
    "npm_config_nodedir",
  ].find((name) => env[name]);
  if (configured) return { found: `${env[configured]} (${configured})`, tried };
  const caches = env.npm_config_devdir
    ? [env.npm_config_devdir]
    : [
        process.platform === "darwin"
          ? join(homedir(), "Library", "Caches", "node-gyp")
          : join(env.XDG_CACHE_HOME || join(homedir(), ".cache"), "node-gyp"),
      ];
  for (const cache of caches) {
    const file = join(cache, process.versions.node, "include", "node", "common.gypi");
    tried.push(file);
    if (existsSync(file)) return { found: file, tried };
  }
  return { tried };
}

function fail(what, headers, log) {
  const compiler = process.env.CXX || "g++";
  const lines = [
    `[build:native] The native addon was not built: ${what}`,
    "",
    `tried     node-gyp configure build (binding.gyp, native/sources.json) in ${root}`,
    "found",
    `  node      ${process.version} ${process.platform}-${process.arch} (${process.execPath})`,
    `  headers   ${headers.found ?? `none; looked for ${headers.tried.join(", ")}`}`,
    `  ${compiler.padEnd(9)} ${version(compiler)}`,
    `  make      ${version("make")}`,
    `  python3   ${version(process.env.PYTHON || "python3")}`,
    "mend",
    "  compiler, make, python3   Debian, Ubuntu: apt-get install g++ make python3   macOS: xcode-select --install",
    "  Node headers              npx node-gyp install   (downloads them), or set npm_package_config_node_gyp_nodedir to a",
    "                            directory that holds include/node/common.gypi",
    "  then                      npm run build:native",
  ];
  if (log) lines.push("", "last lines of the build:", ...log.trimEnd().split("\n").slice(-40));
  console.error(lines.join("\n"));
  process.exit(1);
}

const wanted = fingerprint();
if (existsSync(addon) && existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) {
  console.log(`native addon is up to date (${relative(root, addon)})`);
  process.exit(0);
}

const env = { ...process.env };
const headers = findHeaders(env);
if (headers.nodedir) env.npm_package_config_node_gyp_nodedir = headers.nodedir;
for (const [command, name] of [
  [env.CXX || "g++", "no C++ compiler"],
  ["make", "no make"],
  [env.PYTHON || "python3", "no python3, which node-gyp needs"],
])
  if (spawnSync(command.split(" ")[0], ["--version"]).error)
    fail(`${name} (${command} does not run).`, headers);

let gyp;
try {
  gyp = createRequire(import.meta.url).resolve("node-gyp/bin/node-gyp.js");
} catch {
  // Installed as a dependency, without devDependencies: npm run names the node-gyp that npm brings along.
  gyp = env.npm_config_node_gyp;
  if (!gyp || !existsSync(gyp)) fail("node-gyp is not installed. Run this through npm, which has one.", headers);
}
if (!headers.found)
  console.log("[build:native] no Node headers on this machine: node-gyp will try to download them");

const started = performance.now();
rmSync(stamp, { force: true });
const build = spawnSync(process.execPath, [gyp, "configure", "build", "--release", "-j", "max"], {
  cwd: root,
  env,
  encoding: "utf8",
  maxBuffer: 1 << 28,
});
const log = `${build.stdout ?? ""}${build.stderr ?? ""}`;
if (build.error) fail(`node-gyp did not start: ${build.error.message}.`, headers, log);
if (build.status !== 0 || !existsSync(addon)) {
  const offline = /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|network/i.test(log) && !headers.found;
  fail(
    offline
      ? "the Node headers are missing and could not be downloaded."
      : `node-gyp ended with status ${build.status}.`,
    headers,
    log,
  );
}
const warnings = log.split("\n").filter((line) => /warning:/.test(line));
if (warnings.length > 0) console.error(warnings.join("\n"));
writeFileSync(stamp, wanted);
console.log(
  `built ${relative(root, addon)} in ${((performance.now() - started) / 1000).toFixed(1)} s (${version(env.CXX || "g++")})`,
);
