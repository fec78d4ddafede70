/**
 * Shape of a directory tree: entry k says what every directory at depth k holds (the root has depth 0). Directories of one depth are
 * alike, so which of them has which name tells nothing.
 */
export type TreeShape = readonly { readonly directories: number; readonly files: number }[];

/** Number of directories at each depth, the root included. */
export function directoriesPerDepth(shape: TreeShape): number[] {
  const counts = [1];
  for (const level of shape.slice(0, -1)) counts.push(counts[counts.length - 1] * level.directories);
  return counts;
}
