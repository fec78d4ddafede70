import { readdirSync, readFileSync, statSync } from "node:fs";
import { basename, dirname, join, normalize } from "node:path";
import ts from "typescript";
import { describe, expect, test } from "vitest";

const root = join(import.meta.dirname, "..");

function filesBelow(folder: string, ends: readonly string[]): string[] {
  let entries: string[];
  try {
    entries = readdirSync(join(root, folder)).sort();
  } catch {
    return [];
  }
  return entries.flatMap((entry) => {
    const path = join(folder, entry);
    if (entry === "node_modules" || entry === "golden") return [];
    if (statSync(join(root, path)).isDirectory()) return filesBelow(path, ends);
    return ends.some((end) => entry.endsWith(end)) ? [path] : [];
  });
}

const read = (path: string): string => readFileSync(join(root, path), "utf8");

interface Source {
  path: string;
  /** Folder below lib: `loss`, or "" for lib itself. */
  part: string;
  /** Files of lib that it imports, as types or values, and packages. */
  files: string[];
  packages: string[];
  exports: string[];
  defaultExport: boolean;
  /** Holds nothing but re-exports. */
  barrel: boolean;
  strings: string[];
  calls: string[];
}

function parse(path: string): Source {
  const file = ts.createSourceFile(path, read(path), ts.ScriptTarget.Latest, true);
  const specifiers: string[] = [];
  const source: Source = {
    path,
    part: path.split("/").length > 2 ? path.split("/")[1] : "",
    files: [],
    packages: [],
    exports: [],
    defaultExport: false,
    barrel: file.statements.length > 0 && file.statements.every((s) => ts.isExportDeclaration(s)),
    strings: [],
    calls: [],
  };
  const visit = (node: ts.Node): void => {
    if (ts.isStringLiteralLike(node)) {
      const { parent } = node;
      const imports =
        ts.isImportDeclaration(parent) ||
        ts.isExportDeclaration(parent) ||
        (ts.isLiteralTypeNode(parent) && ts.isImportTypeNode(parent.parent)) ||
        (ts.isCallExpression(parent) && parent.expression.kind === ts.SyntaxKind.ImportKeyword);
      (imports ? specifiers : source.strings).push(node.text);
    }
    if (ts.isCallExpression(node)) source.calls.push(node.expression.getText());
    ts.forEachChild(node, visit);
  };
  visit(file);
  for (const statement of file.statements) {
    if (ts.isExportAssignment(statement)) source.defaultExport = true;
    const modifiers = ts.canHaveModifiers(statement) ? (ts.getModifiers(statement) ?? []) : [];
    if (!modifiers.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword)) continue;
    if (modifiers.some(({ kind }) => kind === ts.SyntaxKind.DefaultKeyword)) source.defaultExport = true;
    if (ts.isVariableStatement(statement))
      for (const { name } of statement.declarationList.declarations) source.exports.push(name.getText());
    else if ("name" in statement && statement.name)
      source.exports.push((statement.name as ts.Node).getText());
  }
  for (const specifier of specifiers)
    if (specifier.startsWith("."))
      source.files.push(normalize(join(dirname(path), specifier.replace(/\.js$/, ".ts"))));
    else source.packages.push(specifier);
  return source;
}

const sources = filesBelow("lib", [".ts"]).map(parse);
const byPath = new Map(sources.map((source) => [source.path, source]));

/** Every import chain from `source` that ends in something `wrong`, as text. */
function chainsTo(source: Source, wrong: (target: string) => boolean): string[] {
  const found: string[] = [];
  const seen = new Set<string>();
  const walk = (at: Source, chain: string): void => {
    for (const target of [...at.files, ...at.packages]) {
      const next = byPath.get(target);
      if (wrong(target)) found.push(`${chain} -> ${target}`);
      else if (next && !seen.has(target)) {
        seen.add(target);
        walk(next, `${chain} -> ${target}`);
      }
    }
  };
  walk(source, source.path);
  return found;
}

const partOf = (path: string): string => byPath.get(path)?.part ?? "";

describe("imports", () => {
  test("every relative import is a file of lib", () => {
    const missing = sources.flatMap(({ path, files }) =>
      files.filter((file) => !byPath.has(file)).map((file) => `${path} -> ${file}`),
    );
    expect(missing).toEqual([]);
    expect(sources.length).toBeGreaterThan(50);
  });

  test("loss, optim and tokens reach nothing that runs agents, not even through others", () => {
    const parts = [
      "sandbox",
      "environments",
      "agent",
      "tasks",
      "policy",
      "rollout",
      "eval",
      "train",
      "report",
      "cli",
    ];
    const wrong = (target: string): boolean =>
      parts.includes(partOf(target)) || ["zod", "dockerode"].includes(target);
    const light = sources.filter(({ part }) => ["loss", "optim", "tokens"].includes(part));
    expect(light.length).toBeGreaterThan(10);
    expect(light.flatMap((source) => chainsTo(source, wrong))).toEqual([]);
  });

  // A later stage may know an earlier one, never the reverse.
  test.each([
    ["errors", ["errors"]],
    ["random", ["random", "errors"]],
    ["floats", ["floats", "errors"]],
    ["tensors", ["tensors", "native", "floats", "errors"]],
    ["cuda", ["cuda", "tensors", "native", "floats", "errors"]],
    ["sandbox", ["sandbox", "errors", "native", "random"]],
    ["environments", ["environments", "sandbox", "tokens", "tasks", "errors", "random"]],
    ["agent", ["agent", "tokens", "errors", "random"]],
    ["tasks", ["tasks", "environments", "agent", "sandbox", "tokens", "errors", "random"]],
    ["policy", ["policy", "model", "native", "tokens", "errors", "random"]],
    ["model", ["model", "native", "floats", "loss", "optim", "tokens", "errors", "random"]],
    [
      "rollout",
      [
        "rollout",
        "policy",
        "agent",
        "environments",
        "tasks",
        "sandbox",
        "tokens",
        "loss",
        "errors",
        "random",
      ],
    ],
  ])("%s knows only %j", (part, allowed) => {
    const wrong = sources
      .filter((source) => source.part === part)
      .flatMap(({ path, files }) =>
        files.filter((file) => !allowed.includes(partOf(file))).map((file) => `${path} -> ${file}`),
      );
    expect(wrong).toEqual([]);
  });

  test("only train, cli and the public surface know train, report and cli", () => {
    const wrong = sources
      .filter(({ part }) => !["train", "report", "cli", ""].includes(part))
      .flatMap(({ path, files }) =>
        files
          .filter((file) => ["train", "report", "cli"].includes(partOf(file)))
          .map((file) => `${path} -> ${file}`),
      );
    expect(wrong).toEqual([]);
  });

  test("there are no cycles", () => {
    const state = new Map<string, "open" | "closed">();
    const cycles: string[] = [];
    const visit = (path: string, chain: string[]): void => {
      if (state.get(path) === "open") cycles.push([...chain.slice(chain.indexOf(path)), path].join(" -> "));
      if (state.has(path)) return;
      state.set(path, "open");
      for (const file of byPath.get(path)?.files ?? []) visit(file, [...chain, path]);
      state.set(path, "closed");
    };
    for (const { path } of sources) visit(path, []);
    expect(cycles).toEqual([]);
  });

  test("zod stands at the edges, dockerode in the Docker sandbox", () => {
    const users = (name: string): string[] =>
      sources.filter(({ packages }) => packages.includes(name)).map(({ path }) => path);
    const edge = /^lib\/(train\/.*|rollout\/trajectory-schema|tasks\/.*-schema|policy\/.*-schema)\.ts$/;
    expect(users("zod").filter((path) => !edge.test(path))).toEqual([]);
    expect(users("dockerode").filter((path) => path !== "lib/sandbox/docker.ts")).toEqual([]);
  });

  test("only native/load.ts opens the addon; only the local sandbox starts processes, and git", () => {
    const loads = ["createRequire", "module.createRequire", "process.dlopen", "dlopen", "require"];
    const loaders = sources.filter(
      ({ calls, strings }) =>
        calls.some((call) => loads.includes(call)) || strings.some((text) => text === "bindings"),
    );
    // installed-package.ts resolves a package.json, as Node would resolve the package, and opens nothing.
    expect(loaders.map(({ path }) => path)).toEqual([
      "lib/native/installed-package.ts",
      "lib/native/load.ts",
    ]);
    const names = sources.filter(({ strings }) => strings.some((text) => /\w\.node$/.test(text)));
    expect(names.filter(({ part }) => part !== "native").map(({ path }) => path)).toEqual([]);
    const spawners = sources.filter(({ packages }) => packages.some((name) => /child_process$/.test(name)));
    expect(
      spawners
        .map(({ path }) => path)
        .filter((path) => !/^lib\/(sandbox\/(local-sandbox|supervisor).*|train\/git-commit)\.ts$/.test(path)),
    ).toEqual([]);
  });

  test("nothing draws from a random source of its own", () => {
    const wrong = sources.filter(({ path }) => /Math\.random\(|randomUUID|randomBytes/.test(read(path)));
    expect(wrong.map(({ path }) => path)).toEqual([]);
  });
});

describe("native code", () => {
  const native = filesBelow("native", [".cc", ".h", ".cu", ".cuh"]);

  test("only the addon sees Node", () => {
    const wrong = native.filter(
      (path) =>
        !path.startsWith("native/addon/") &&
        /#\s*include\s*[<"](napi|node_api|node|v8|uv)\b/.test(read(path)),
    );
    expect(native.length).toBeGreaterThan(5);
    expect(wrong).toEqual([]);
  });

  test("no file asks for OpenMP or fast maths", () => {
    const wrong = [...native, "native/sources.json"].filter((path) =>
      /#\s*pragma\s+omp|-fopenmp|-ffast-math|-Ofast|fp_contract\s*\(?\s*fast/i.test(read(path)),
    );
    expect(wrong).toEqual([]);
  });
});

describe("files", () => {
  const written = ["lib", "bench", "examples", "scripts", "tests"].flatMap((folder) =>
    filesBelow(folder, [".ts", ".mjs"]),
  );

  test("are short: 250 lines, 400 for a list of test cases", () => {
    const long = written.flatMap((path) => {
      const lines = read(path).split("\n").length - 1;
      return lines > (path.startsWith("tests/") ? 400 : 250) ? [`${path}: ${lines}`] : [];
    });
    expect(long).toEqual([]);
  });

  test("are named in kebab-case, never after a drawer", () => {
    const wrong = written.filter((path) => {
      const name = basename(path).replace(/(\.property)?(\.slow)?(\.test)?\.(d\.)?(ts|mjs)$/, "");
      return !/^[a-z0-9]+(-[a-z0-9]+)*$/.test(name) || /^(utils?|helpers?|common|misc|types)$/.test(name);
    });
    expect(wrong).toEqual([]);
  });

  test("bear the name of the one thing they export; only index.ts gathers", () => {
    const letters = (name: string): string => name.replace(/[-_]/g, "").toLowerCase();
    const bears = (one: string, file: string): boolean =>
      file.split("-").every((word) => letters(one).includes(word.replace(/(ies|s)$/, "")));
    const wrong = sources.flatMap(({ path, exports, defaultExport, barrel }) => {
      if (defaultExport) return [`${path}: default export`];
      if (basename(path) === "index.ts") return barrel ? [] : [`${path}: more than exports`];
      if (barrel) return [`${path}: a barrel`];
      const name = basename(path, ".ts");
      return exports.length !== 1 || exports.some((one) => bears(one, name)) ? [] : [`${path}: ${exports}`];
    });
    expect(wrong).toEqual([]);
  });
});
