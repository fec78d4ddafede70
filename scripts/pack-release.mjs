// Packs echo-grpo as it is published into release/: what `npm pack` takes, with the platform packages of the same version as optional
// dependencies. They are written here and not in package.json, where `npm ci` would look for packages that are not there yet.
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const release = resolve(process.argv[2] ?? join(root, "release"));
const npm = (args, cwd) => JSON.parse(execFileSync("npm", args, { cwd, encoding: "utf8" }));

const work = mkdtempSync(join(tmpdir(), "echo-grpo-release-"));
try {
  execFileSync(
    process.execPath,
    [join(root, "node_modules/typescript/bin/tsc"), "-p", "tsconfig.build.json"],
    {
      cwd: root,
      stdio: "inherit",
    },
  );
  const [{ files }] = npm(["pack", "--dry-run", "--json", "--ignore-scripts"], root);
  for (const { path } of files) cpSync(join(root, path), join(work, path));
  const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  // The CUDA library is for those who ask for it: nobody else is to download it.
  const folders = readdirSync(join(root, "npm")).filter((folder) => !folder.startsWith("cuda-"));
  const names = folders.map(
    (folder) => JSON.parse(readFileSync(join(root, "npm", folder, "package.json"), "utf8")).name,
  );
  manifest.optionalDependencies = Object.fromEntries(names.sort().map((name) => [name, manifest.version]));
  writeFileSync(join(work, "package.json"), `${JSON.stringify(manifest, null, 2)}\n`);

  mkdirSync(release, { recursive: true });
  const [{ filename, size }] = npm(
    ["pack", work, "--json", "--ignore-scripts", "--pack-destination", release],
    work,
  );
  console.log(
    `packed ${relative(process.cwd(), join(release, filename))}, ${Math.round(size / 1024)} KiB, with ${names.length} optional packages`,
  );
} finally {
  rmSync(work, { recursive: true, force: true });
}
