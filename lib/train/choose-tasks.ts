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

/** The hardest difficulty of a training step, counted from 1: 1, 2 and 3 for a third of `curriculumSteps` each, then 3. */
function hardestOf(step: number, curriculumSteps: number): number {
  return curriculumSteps === 0 ? 3 : Math.min(3, 1 + Math.floor((3 * (step - 1)) / curriculumSteps));
}

/**
 * `count` different tasks of a range, drawn by (seed, step) alone; with `curriculumSteps`, none harder than the step allows.
 * @throws ConfigError ERR_CONFIG when the range does not hold so many.
 */
export function chooseTasks(
  family: TaskFamily,
  range: TaskRange & { curriculumSteps?: number },
  options: { seed: number; step: number; count: number },
): Task[] {
  const size = checkTaskRange(family, range, options.count, "tasks");
  const hardest = hardestOf(options.step, range.curriculumSteps ?? 0);
  const random = new CounterRandom(deriveSeed(options.seed, "tasks", options.step));
  // Fisher-Yates on a range that is never written out: only the places that were swapped are kept.
  const moved = new Map<number, number>();
  const tasks: Task[] = [];
  for (let i = 0; i < size && tasks.length < options.count; i++) {
    const j = i + random.integer(size - i);
    const chosen = moved.get(j) ?? j;
    moved.set(j, moved.get(i) ?? i);
    const task = family.task(range.split, range.first + chosen);
    if ((task.difficulty ?? 1) <= hardest) tasks.push(task);
  }
  if (tasks.length === options.count) return tasks;
  throw new ConfigError(
    "ERR_CONFIG",
    `[config] "tasks.curriculumSteps" leaves too few tasks of ${family.name}/${range.split}: expected ${options.count} of difficulty ${hardest} or less, got ${tasks.length}. Widen the range or set it to 0.`,
  );
}
