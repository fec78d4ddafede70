/** How a path relative to the root is written from a directory. */
export function relativePath(from: string, path: string): string {
  const here = from === "" ? [] : from.split("/");
  const there = path === "" ? [] : path.split("/");
  while (here.length > 0 && here[0] === there[0]) {
    here.shift();
    there.shift();
  }
  return [...here.map(() => ".."), ...there].join("/") || ".";
}
