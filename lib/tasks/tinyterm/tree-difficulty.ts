import type { Task } from "../task.js";
import { directoriesPerDepth, type TreeShape } from "./tree-shape.js";

/** Difficulty of a task by the size of its tree: up to 5 directories and files, up to 8, more. */
export function treeDifficulty(shape: TreeShape): NonNullable<Task["difficulty"]> {
  const entries = directoriesPerDepth(shape).reduce(
    (sum, count, depth) => sum + count * (shape[depth].directories + shape[depth].files),
    0,
  );
  return entries <= 5 ? 1 : entries <= 8 ? 2 : 3;
}
