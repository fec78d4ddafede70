/**
 * What bash, ls, cat and find say about a tree of files that hold one word each: an independent model, for checking the floor by
 * enumeration and the real sandbox against expectation. Text only; `run` returns output, exit status and the new directory.
 */
export interface SimulatedWorld {
  directories: readonly string[];
  files: readonly { path: string; word: string }[];
}

type Node = Map<string, Node | string>;

const trees = new WeakMap<SimulatedWorld, Node>();

function treeOf(world: SimulatedWorld): Node {
  const built = trees.get(world);
  if (built) return built;
  const root: Node = new Map();
  const walk = (path: string[]): Node => path.reduce((node, name) => node.get(name) as Node, root);
  for (const path of world.directories)
    walk(path.split("/").slice(0, -1)).set(path.split("/").at(-1) ?? "", new Map());
  for (const { path, word } of world.files)
    walk(path.split("/").slice(0, -1)).set(path.split("/").at(-1) ?? "", word);
  trees.set(world, root);
  return root;
}

export function runSimulated(
  world: SimulatedWorld,
  cwd: string,
  command: string,
): { text: string; exit: number; cwd: string } {
  const root = treeOf(world);
  const [program, ...operands] = command.split(" ");
  const resolve = (operand: string): { stack: string[]; node: Node | string } | "ENOENT" | "ENOTDIR" => {
    let stack = cwd === "" ? [] : cwd.split("/");
    const nodeAt = (path: string[]): Node | string =>
      path.reduce<Node | string>((node, name) => (node as Node).get(name) as Node | string, root);
    for (const name of operand.split("/")) {
      if (typeof nodeAt(stack) === "string") return "ENOTDIR";
      if (name === ".") continue;
      if (name === "..") stack = stack.slice(0, -1);
      else if ((nodeAt(stack) as Node).has(name)) stack = [...stack, name];
      else return "ENOENT";
    }
    return { stack, node: nodeAt(stack) };
  };
  const message = { ENOENT: "No such file or directory", ENOTDIR: "Not a directory" };
  const sorted = (node: Node): string[] => [...node.keys()].sort();

  if (program === "pwd") return { text: `/home/agent${cwd && "/"}${cwd}\n`, exit: 0, cwd };
  if (program === "cd") {
    if (operands.length === 0) return { text: "", exit: 0, cwd: "" };
    const found = resolve(operands[0]);
    if (typeof found === "string")
      return { text: `bash: line 1: cd: ${operands[0]}: ${message[found]}\n`, exit: 1, cwd };
    if (typeof found.node === "string")
      return { text: `bash: line 1: cd: ${operands[0]}: Not a directory\n`, exit: 1, cwd };
    return { text: "", exit: 0, cwd: found.stack.join("/") };
  }
  let text = "";
  let exit = 0;
  if (program === "cat") {
    for (const operand of operands) {
      const found = resolve(operand);
      if (typeof found !== "string" && typeof found.node === "string") text += `${found.node}\n`;
      else {
        text += `cat: ${operand}: ${typeof found === "string" ? message[found] : "Is a directory"}\n`;
        exit = 1;
      }
    }
    return { text, exit, cwd };
  }
  if (operands.length === 0) operands.push(".");
  const resolved = operands.map((operand) => ({ operand, found: resolve(operand) }));
  if (program === "ls") {
    const blocks: string[] = [];
    const plain: string[] = [];
    const listed: typeof resolved = [];
    for (const entry of resolved) {
      if (typeof entry.found === "string") {
        text += `ls: cannot access '${entry.operand}': ${message[entry.found]}\n`;
        exit = 2;
      } else if (typeof entry.found.node === "string") plain.push(`${entry.operand}\n`);
      else listed.push(entry);
    }
    if (plain.length > 0) blocks.push(plain.sort().join(""));
    for (const { operand, found } of listed.sort((a, b) =>
      a.operand < b.operand ? -1 : a.operand > b.operand ? 1 : 0,
    )) {
      const names = sorted((found as { node: Node }).node)
        .map((name) => `${name}\n`)
        .join("");
      blocks.push(operands.length > 1 ? `${operand}:\n${names}` : names);
    }
    return { text: text + blocks.join("\n"), exit, cwd };
  }
  const lines: string[] = [];
  const walk = (path: string, node: Node | string): void => {
    lines.push(path);
    if (typeof node !== "string")
      for (const name of sorted(node)) walk(`${path}/${name}`, node.get(name) as Node | string);
  };
  for (const { operand, found } of resolved)
    if (typeof found === "string") text += `find: '${operand}': ${message[found]}\n`;
    else walk(operand, found.node);
  return {
    text:
      text +
      lines
        .sort()
        .map((line) => `${line}\n`)
        .join(""),
    exit: 0,
    cwd,
  };
}
