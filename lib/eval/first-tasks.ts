import { ArgumentError } from "../errors/argument-error.js";
import type { Task } from "../tasks/task.js";
import type { TaskFamily } from "../tasks/task-family.js";

/**
 * The first `count` tasks of a split.
 * @throws ArgumentError ERR_OUT_OF_RANGE unless `count` is an integer from 1 to the size of the split.
 */
export function firstTasks(family: TaskFamily, split: Task["split"], count: number): Task[] {
  const size = family.size(split);
  if (!Number.isSafeInteger(count) || count < 1 || count > size)
    throw new ArgumentError(
      "ERR_OUT_OF_RANGE",
      `[eval] number of tasks is unusable: expected an integer from 1 to ${size}, the size of ${family.name}'s ${split} split, got ${count}. Ask for fewer tasks.`,
    );
  return Array.from({ length: count }, (_, index) => family.task(split, index));
}
