import { TaskError } from "../errors/task-error.js";
import type { Task } from "./task.js";
import type { TaskFamily } from "./task-family.js";

/**
 * Several families as one: task `i` of a split is task `⌊i / n⌋` of family `i mod n`, so that any range of indices holds the
 * same share of each. Tasks keep the id and the family of the member they come from.
 *
 * @throws TaskError ERR_TASK without members, or when they do not share one tokenizer.
 */
export function createMixtureFamily(name: string, members: readonly TaskFamily[]): TaskFamily {
  const tokenizers = new Set(members.map(({ tokenizer }) => tokenizer));
  if (tokenizers.size !== 1)
    throw new TaskError(
      "ERR_TASK",
      `[createMixtureFamily] ${name}: expected members that share one tokenizer, got ${tokenizers.size} tokenizers. Mix families of one world.`,
    );
  const memberOf = (task: Task): TaskFamily => {
    const member = members.find((each) => each.name === task.family);
    if (member) return member;
    throw new TaskError(
      "ERR_TASK",
      `[${name}] the task ${task.id} is of another family: expected one of ${members.map((each) => each.name).join(", ")}, got ${task.family}. Take tasks from this family.`,
    );
  };
  return {
    name,
    tokenizer: members[0].tokenizer,
    maxActionTokens: Math.max(...members.map(({ maxActionTokens }) => maxActionTokens)),
    size: (split) => members.length * Math.min(...members.map((member) => member.size(split))),
    task: (split, index) => members[index % members.length].task(split, Math.floor(index / members.length)),
    createEnvironment: (task, sandboxes) => memberOf(task).createEnvironment(task, sandboxes),
    createExpert: (task) => memberOf(task).createExpert(task),
    createRandomAgent: (task, seed) => memberOf(task).createRandomAgent(task, seed),
    observationFloor: (task, actions) => memberOf(task).observationFloor(task, actions),
  };
}
