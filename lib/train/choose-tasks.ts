import { ConfigError } from "../errors/config-error.js";
import { CounterRandom } from "../random/counter-random.js";
import { deriveSeed } from "../random/derive-seed.js";
import type { Task } from "../tasks/task.js";
import type { TaskFamily } from "../tasks/task-family.js";

/** A range of one split's tasks. */
export interface TaskRange {
  split: Task["split"];
  first: number;
  /** Default: to the end of the split. */
  count?: number;
}

/** @throws ConfigError ERR_CONFIG when the split does not hold the range. */
export function checkTaskRange(family: TaskFamily, range: TaskRange, least: number, key: string): number {
  const size = family.size(range.split);
  const count = range.count ?? size - range.first;
  if (count < least || range.first + count > size)
    throw new ConfigError(
      "ERR_CONFIG",
      `[config] "${key}" does not fit ${family.name}/${range.split}: expected at least ${least} of its ${size} tasks, got ${count} from ${range.first}. Change first, count or the number of tasks asked for.`,
    );
  return count;
}

/** `count` different tasks of a range, drawn by (seed, step) alone. */
export function chooseTasks(
  family: TaskFamily,
  range: TaskRange,
  options: { seed: number; step: number; count: number },
): Task[] {
  const size = checkTaskRange(family, range, options.count, "tasks");
  const random = new CounterRandom(deriveSeed(options.seed, "tasks", options.step));
  // Fisher-Yates on a range that is never written out: only the places that were swapped are kept.
  const moved = new Map<number, number>();
  return Array.from({ length: options.count }, (_, i) => {
    const j = i + random.integer(size - i);
    const chosen = moved.get(j) ?? j;
    moved.set(j, moved.get(i) ?? i);
    return family.task(range.split, range.first + chosen);
  });
}
