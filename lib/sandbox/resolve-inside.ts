/**
 * The parts of `path` seen from `cwd`, both relative to the task root, by text alone; undefined when the path would climb above
 * the root. Text and disk agree because the command language makes no links and never moves a directory the shell stands in.
 */
export function resolveInside(cwd: string, path: string): string[] | undefined {
  const parts = cwd === "" ? [] : cwd.split("/");
  for (const part of path.split("/")) {
    if (part === "" || part === ".") continue;
    if (part !== "..") parts.push(part);
    else if (parts.pop() === undefined) return undefined;
  }
  return parts;
}
