import { describe, expect, it } from "vitest";
import { createMixtureFamily } from "../../lib/tasks/mixture-family.js";
import { taskFamily } from "../../lib/tasks/task-families.js";

const find = taskFamily("tinyterm/find");
const visit = taskFamily("tinyterm/visit");

describe("createMixtureFamily", () => {
  const both = createMixtureFamily("both", [find, visit]);

  it("takes tasks from its members in turn", () => {
    expect(both.size("val")).toBe(2 * Math.min(find.size("val"), visit.size("val")));
    for (const index of [0, 1, 2, 3, 100, 101])
      expect(both.task("train", index)).toEqual(
        (index % 2 === 0 ? find : visit).task("train", Math.floor(index / 2)),
      );
  });

  it("asks the member a task comes from", () => {
    const task = find.task("val", 3);
    const actions = ["ls", "pwd"];
    expect(both.observationFloor(task, actions)).toBe(find.observationFloor(task, actions));
    expect(both.observationFloor(task, actions)).toBeGreaterThan(0);
    expect(both.observationFloor(visit.task("val", 3), actions)).toBe(0);
    const opening = [{ text: task.instruction, role: "context" as const }];
    expect(both.createExpert(task).next(opening)).toBe(find.createExpert(task).next(opening));
  });

  it("refuses members of different worlds, none at all, and tasks of others", () => {
    const maze = taskFamily("maze/3-3");
    const refused = (run: () => unknown, message: RegExp): void =>
      expect(run).toThrow(
        expect.objectContaining({ code: "ERR_TASK", message: expect.stringMatching(message) }),
      );
    refused(() => createMixtureFamily("odd", [find, maze]), /share one tokenizer, got 2 tokenizers/);
    refused(() => createMixtureFamily("empty", []), /got 0 tokenizers/);
    refused(
      () => both.createExpert(maze.task("val", 0)),
      /expected one of tinyterm\/find, tinyterm\/visit, got maze/,
    );
  });
});
