import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { describe, expect, test } from "vitest";

const root = join(import.meta.dirname, "..", "..");
const read = (path: string): string => readFileSync(join(root, path), "utf8");
const api = read("docs/api.md");

function sourcesBelow(folder: string, ends: readonly string[]): string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && ends.some((end) => entry.name.endsWith(end)))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .filter((path) => !path.includes("node_modules"))
    .sort();
}

const lib = sourcesBelow("lib", [".ts"]).map((path) => read(path));

/** Every name an index exports, types included. */
function exportsOf(index: string): string[] {
  const names: string[] = [];
  for (const [, list, from] of read(index).matchAll(/export (?:type )?(\*|\{[^}]*\}) from "([^"]+)";/g)) {
    if (list === "*") names.push(...exportsOf(join(dirname(index), from.replace(/\.js$/, ".ts"))));
    else
      for (const each of list
        .slice(1, -1)
        .split(",")
        .filter((text) => text.trim() !== ""))
        names.push(
          each
            .trim()
            .replace(/^type /, "")
            .replace(/^.* as /, ""),
        );
  }
  return names;
}

/** Import path, for example `echo-grpo/loss`, and the index behind it. */
const entries = Object.entries(
  JSON.parse(read("package.json")).exports as Record<string, { default: string } | string>,
).flatMap(([name, target]): [string, string][] =>
  typeof target === "string"
    ? []
    : [
        [
          name.replace(/^\./, "echo-grpo"),
          target.default.replace(/^\.\/dist\/(.*)\.js$/, (_, path) => `lib/${path}.ts`),
        ],
      ],
);

/** The text under a heading of docs/api.md, up to the next of its level. */
const section = (heading: string): string =>
  api.split(/^## /m).find((text) => text.startsWith(`${heading}\n`)) ?? "";

const mentions = (text: string, name: string): boolean =>
  new RegExp(`(?<![\\w])${name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}(?![\\w])`).test(text);

describe("docs/api.md", () => {
  test.each(entries)("%s: has a section with every name of %s", (name, index) => {
    const names = exportsOf(index);
    expect(names.length).toBeGreaterThan(4);
    expect(section(name)).not.toBe("");
    // The root gathers the others, which have sections of their own.
    const text = name === "echo-grpo" ? api : section(name);
    expect(names.filter((each) => !mentions(text, each))).toEqual([]);
  });

  test("every index.ts is an import path or gathered by the root", () => {
    const known = new Set(entries.map(([, index]) => index));
    const gathered = [...read("lib/index.ts").matchAll(/export \* from "\.\/(.*)\.js"/g)];
    for (const [, path] of gathered) known.add(`lib/${path}.ts`);
    expect(sourcesBelow("lib", ["index.ts"]).filter((path) => !known.has(path))).toEqual([]);
  });

  test("examples import what is there, from where it is", () => {
    const exported = new Map(entries.map(([name, index]) => [name, exportsOf(index)]));
    const blocks = [api, read("README.md")].flatMap((text) => [...text.matchAll(/```ts\n([\s\S]*?)```/g)]);
    const imports = blocks.flatMap(([, code]) => [
      ...code.matchAll(/import (?:type )?\{([^}]*)\} from "(echo-grpo[^"]*)"/g),
    ]);
    expect(imports.length).toBeGreaterThan(10);
    const missing = imports.flatMap(([, list, from]) =>
      list
        .split(",")
        .map((name) => name.trim().replace(/^type /, ""))
        .filter((name) => name !== "" && !exported.get(from)?.includes(name))
        .map((name) => `${name} from ${from}`),
    );
    expect(missing).toEqual([]);
  });

  test("names every error code", () => {
    const codes = new Set(
      lib.flatMap((text) => [...text.matchAll(/"(ERR_[A-Z_]+)"/g)].map(([, code]) => code)),
    );
    expect(codes.size).toBeGreaterThan(20);
    expect([...codes].filter((code) => !mentions(api, code))).toEqual([]);
  });

  test("names every command and flag", () => {
    const cli = sourcesBelow("lib/cli", [".ts"]).map((path) => read(path));
    const flags = cli.flatMap((text) => [...text.matchAll(/"(--[a-z-]+)/g)].map(([, flag]) => flag));
    const commands = cli.flatMap((text) =>
      [...text.matchAll(/\.command\("([a-z-]+)"\)/g)].map(([, name]) => name),
    );
    expect(commands.length).toBeGreaterThan(3);
    const text = section("Commands");
    expect(flags.filter((flag) => !mentions(text, flag))).toEqual([]);
    expect(commands.filter((name) => !text.includes(`\`echo-grpo ${name}`))).toEqual([]);
  });

  test("or CONTRIBUTING.md names every environment variable", () => {
    const paths = [
      ...["lib", "native", "scripts", "tests"].flatMap((folder) =>
        sourcesBelow(folder, [".ts", ".mjs", ".cc", ".h", ".cu"]),
      ),
      "vitest.config.ts",
    ];
    const variables = new Set(
      paths.flatMap((path) => read(path).match(/\bECHO_GRPO_[A-Z0-9_]*[A-Z0-9]\b/g) ?? []),
    );
    expect(variables.size).toBeGreaterThan(4);
    const text = api + read("CONTRIBUTING.md");
    expect([...variables].filter((name) => !mentions(text, name))).toEqual([]);
  });
});

test("docs/configuration.md has every key of schemas/config.schema.json", () => {
  type Schema = { properties?: Record<string, Schema> };
  const keys = ({ properties = {} }: Schema, prefix: string): string[] =>
    Object.entries(properties).flatMap(([key, value]) => [
      `${prefix}${key}`,
      ...keys(value, `${prefix}${key}.`),
    ]);
  const all = keys(JSON.parse(read("schemas/config.schema.json")), "");
  expect(all.length).toBeGreaterThan(50);
  const text = read("docs/configuration.md");
  expect(all.filter((key) => !text.includes(`| \`${key}\` |`))).toEqual([]);
});

describe("docs/metrics.md", () => {
  const metrics = read("docs/metrics.md");
  const tables = metrics.slice(metrics.indexOf("## metrics.jsonl"), metrics.indexOf("## Files of a run"));
  const documented = [...tables.matchAll(/^\| (`[^|]*`) \|/gm)].flatMap(([, cell]) =>
    [...cell.matchAll(/`([^`]+)`/g)].map(([, key]) => key),
  );

  test("names only keys that lib writes", () => {
    expect(documented.length).toBeGreaterThan(25);
    const written = (key: string): boolean => {
      // A key put together from a prefix and a name: `time/${part}`, `rollout/stop/${reason}`.
      const prefix = `\`${key.slice(0, key.lastIndexOf("/") + 1)}\${`;
      return lib.some((text) => mentions(text, key) || (key.includes("/") && text.includes(prefix)));
    };
    expect(documented.filter((key) => !written(key))).toEqual([]);
  });

  test("names every key that lib writes", () => {
    const groups = "reward|rollout|loss|observation|action|policy|optim|eval|time|perf";
    const pattern = new RegExp(`metrics\\["((?:${groups})/[a-z_/]+)"\\]|"((?:${groups})/[a-z_/]+)":`, "g");
    const keys = lib.flatMap((text) =>
      [...text.matchAll(pattern)].map(([, index, property]) => index ?? property),
    );
    expect(keys.length).toBeGreaterThan(15);
    expect(keys.filter((key) => !metrics.includes(`\`${key}\``))).toEqual([]);
  });
});

test("relative links in README.md and docs lead to files", () => {
  const pages = ["README.md", ...sourcesBelow("docs", [".md"])];
  const broken = pages.flatMap((page) =>
    [...read(page).matchAll(/\]\(([^)\s]+)\)/g)]
      .map(([, link]) => link.replace(/#.*$/, ""))
      .filter((link) => link !== "" && !/^[a-z]+:/.test(link))
      .filter((link) => !existsSync(join(root, dirname(page), link)))
      .map((link) => `${page}: ${link}`),
  );
  expect(broken).toEqual([]);
});
