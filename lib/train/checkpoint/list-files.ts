import { readdir } from "node:fs/promises";

/** Regular files below a directory, as sorted relative paths with forward slashes, and its directories, deepest first. */
export async function listFiles(directory: string): Promise<{ files: string[]; directories: string[] }> {
  const files: string[] = [];
  const directories: string[] = [];
  const walk = async (prefix: string): Promise<void> => {
    for (const entry of await readdir(`${directory}/${prefix}`, { withFileTypes: true })) {
      const path = prefix === "" ? entry.name : `${prefix}/${entry.name}`;
      if (entry.isDirectory()) {
        await walk(path);
        directories.push(path);
      } else files.push(path);
    }
  };
  await walk("");
  return { files: files.sort(), directories };
}
