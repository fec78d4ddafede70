import { describe, expect, it } from "vitest";
import { SandboxError } from "../../lib/errors/sandbox-error.js";
import type { Trajectory } from "../../lib/rollout/trajectory.js";
import { taskFamily } from "../../lib/tasks/task-families.js";
import { ROLE_CODE } from "../../lib/tokens/role-code.js";
import { chooseTasks } from "../../lib/train/choose-tasks.js";
import { closeRun } from "../../lib/train/close-run.js";
import { lambdaOf } from "../../lib/train/lambda-of.js";
import { LazySandboxes } from "../../lib/train/lazy-sandboxes.js";
import { makeMinibatches } from "../../lib/train/make-minibatches.js";
import { plannedOptimizerSteps } from "../../lib/train/planned-optimizer-steps.js";
import { policyStep } from "../../lib/train/policy-step.js";
import { rolloutMetrics } from "../../lib/train/rollout-metrics.js";
import { scoreGroups } from "../../lib/train/score-groups.js";
import { startRun } from "../../lib/train/start-run.js";
import { StepClock } from "../../lib/train/step-clock.js";
import { tinyConfig } from "./tiny-run.js";

const trajectory = (overrides: Partial<Trajectory>): Trajectory => ({
  schema: 2,
  taskId: "t",
  task: 0,
  rollout: 0,
  author: "policy",
  policyVersion: 0,
  ids: [1, 2, 3],
  roles: "cao",
  logprobs: [-0.5],
  temperature: 1,
  turns: 1,
  reward: 0,
  stopReason: "max_turns",
  exact: true,
  warnings: 0,
  refusals: 0,
  formatWarnings: 0,
  ...overrides,
});
const broken = trajectory({
  reward: null,
  stopReason: "sandbox_error",
  error: { code: "ERR_SANDBOX_GONE", message: "[sandbox] gone." },
  exact: false,
});

describe("scoreGroups", () => {
  it("compares within a group and leaves excluded rollouts out", () => {
    const groups = [
      [trajectory({ reward: 1 }), broken, trajectory({ reward: 0 }), trajectory({ reward: 0 })],
      [trajectory({ reward: 1 }), broken, broken, broken],
      [broken],
    ];
    const sequencesOf = (options: Parameters<typeof scoreGroups>[1]) =>
      scoreGroups(groups, options).map((group) => group.map(({ sequence }) => sequence));
    expect(sequencesOf({ normalize: "std" }).map(({ length }) => length)).toEqual([3, 1, 0]);
    const sequences = sequencesOf({ normalize: "std" }).flat();
    // mean 1/3, unbiased standard deviation 1/√3.
    const scale = 1 / (Math.sqrt(1 / 3) + 1e-6);
    expect(sequences.map(({ advantage }) => advantage)).toEqual([
      expect.closeTo((2 / 3) * scale, 9),
      expect.closeTo((-1 / 3) * scale, 9),
      expect.closeTo((-1 / 3) * scale, 9),
      0,
    ]);
    expect(sequencesOf({ normalize: "mean" })[0][0].advantage).toBeCloseTo(2 / 3, 12);
    expect([...sequences[0].roles]).toEqual([ROLE_CODE.context, ROLE_CODE.action, ROLE_CODE.observation]);
    expect(sequences[0].oldLogprobs?.[1]).toBe(-0.5);
  });

  it("looks at no reward with envOnly, and keeps what only lacks a verdict", () => {
    const unverified = trajectory({ ...broken, stopReason: "verifier_error" });
    const groups = [[trajectory({ reward: 1 }), unverified, broken, trajectory({ reward: 0 })]];
    const [rollouts] = scoreGroups(groups, { normalize: "std", envOnly: true });
    expect(rollouts.map(({ trajectory: each }) => groups[0].indexOf(each))).toEqual([0, 1, 3]);
    expect(rollouts.map(({ sequence }) => sequence.advantage)).toEqual([0, 0, 0]);
  });
});

describe("rolloutMetrics", () => {
  it("counts failures apart from scores", () => {
    const timeout = trajectory({ reward: 0, stopReason: "rollout_timeout", turns: 4, warnings: 2 });
    Object.assign(timeout, { refusals: 1, formatWarnings: 2 });
    const groups = [
      [trajectory({ reward: 1 }), timeout, broken],
      [trajectory({ reward: 1 }), trajectory({ reward: 1 }), trajectory({ reward: 1 })],
    ];
    expect(rolloutMetrics(groups)).toEqual({
      "reward/mean": 0.8,
      "reward/std": expect.closeTo(Math.sqrt(0.2), 12),
      "reward/zero_variance_groups": 1,
      "rollout/turns": 1.5,
      "rollout/warnings": 1 / 3,
      "rollout/refusals": 1 / 6,
      "rollout/format_warnings": 1 / 3,
      "rollout/excluded": 1,
      "rollout/stop/max_turns": 4,
      "rollout/stop/rollout_timeout": 1,
      "rollout/stop/sandbox_error": 1,
    });
    const none = rolloutMetrics([[broken]]);
    expect("reward/mean" in none).toBe(false);
    expect(none["reward/zero_variance_groups"]).toBe(1);
  });
});

describe("chooseTasks", () => {
  const family = taskFamily("maze/3-3");
  const ids = (range: object, step: number, count: number, seed = 1): string[] =>
    chooseTasks(family, { split: "train", first: 0, ...range }, { seed, step, count }).map(({ id }) => id);

  it("draws different tasks of the range, by seed and step alone", () => {
    const drawn = ids({ first: 10, count: 20 }, 3, 20);
    const range = Array.from({ length: 20 }, (_, i) => family.task("train", 10 + i).id);
    expect([...drawn].sort()).toEqual([...range].sort());
    expect(drawn).not.toEqual(range);
    expect(ids({ first: 10, count: 20 }, 3, 20)).toEqual(drawn);
    expect(ids({ first: 10, count: 20 }, 4, 20)).not.toEqual(drawn);
    expect(ids({ first: 10, count: 20 }, 3, 20, 2)).not.toEqual(drawn);
    expect(ids({ first: 10, count: 20 }, 3, 5)).toEqual(drawn.slice(0, 5));
  });

  it("raises the difficulty over the steps of a curriculum", () => {
    const graded = taskFamily("tinyterm/find");
    const range = { split: "train", first: 0, curriculumSteps: 9 } as const;
    const hardest = (step: number): number =>
      Math.max(
        ...chooseTasks(graded, range, { seed: 1, step, count: 40 }).map(({ difficulty }) => difficulty ?? 0),
      );
    expect([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 50].map(hardest)).toEqual([1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3]);
    const plain = (step: number) =>
      chooseTasks(graded, { split: "train", first: 0 }, { seed: 1, step, count: 40 });
    // Once everything is allowed, the draw is the one without a curriculum.
    expect(chooseTasks(graded, range, { seed: 1, step: 30, count: 40 })).toEqual(plain(30));
    expect(plain(1).some(({ difficulty }) => difficulty === 3)).toBe(true);
    const few = { ...range, count: 16 };
    expect(() => chooseTasks(graded, few, { seed: 1, step: 1, count: 16 })).toThrow(
      /curriculumSteps.*expected 16 of difficulty 1 or less, got \d+\. Widen/,
    );
  });

  it("reaches every task of a split evenly", () => {
    const seen = new Map<string, number>();
    for (let step = 0; step < 500; step++)
      for (const id of ids({ count: 10 }, step, 3)) seen.set(id, (seen.get(id) ?? 0) + 1);
    expect(seen.size).toBe(10);
    // 150 expected, standard deviation about 10.
    for (const count of seen.values()) expect(Math.abs(count - 150)).toBeLessThan(50);
  });
});

describe("makeMinibatches", () => {
  it("keeps every item once, in sizes that differ by one at most", () => {
    const items = Array.from({ length: 21 }, (_, i) => i);
    const options = { seed: 1, step: 2, epoch: 0, size: 8 };
    const minibatches = makeMinibatches(items, options);
    expect(minibatches.map(({ length }) => length)).toEqual([7, 7, 7]);
    expect(minibatches.flat().sort((a, b) => a - b)).toEqual(items);
    expect(makeMinibatches(items, options)).toEqual(minibatches);
    expect(makeMinibatches(items, { ...options, epoch: 1 })).not.toEqual(minibatches);
    expect(makeMinibatches([1], options)).toEqual([[1]]);
  });
});

describe("schedules", () => {
  it("moves lambda over training steps", () => {
    const over = (lambdaSchedule: object): number[] =>
      [0, 1, 2, 3, 4].map(lambdaOf(tinyConfig({ lambda: 0.125, lambdaSchedule })));
    expect(over({ kind: "constant" })).toEqual([0.125, 0.125, 0.125, 0.125, 0.125]);
    expect(over({ kind: "linear", to: 0.5, steps: 2 })).toEqual([0.125, 0.3125, 0.5, 0.5, 0.5]);
    expect(over({ kind: "step", steps: [2, 4], values: [0.2, 0] })).toEqual([0.125, 0.125, 0.2, 0.2, 0]);
  });

  it("plans optimiser steps", () => {
    const config = tinyConfig({ tasksPerStep: 5, groupSize: 3, minibatchSequences: 4, epochsPerStep: 2 });
    expect(plannedOptimizerSteps(config, 10)).toBe(10 * 2 * 4);
  });
});

describe("policyStep", () => {
  it("stops with the first failure when no rollout of a step was scored, and changes no weight", async () => {
    const config = tinyConfig({ tasks: { family: "tinyterm/find" } });
    const run = await startRun(config, { onProblem: () => {} });
    run.parts.sandboxes = new LazySandboxes(() =>
      Promise.reject(new SandboxError("ERR_SANDBOX_START", "[sandbox] no room here.")),
    );
    const before = run.parts.model.parameters().map(({ value }) => value.slice());
    const hooks = {
      clock: new StepClock(),
      onRollout: () => {},
      onOptimizerStep: () => {},
      onCleanupFailure: () => {},
    };
    await expect(policyStep(run, 1, hooks)).rejects.toThrow(
      /every rollout of step 1 was excluded.*no room here/,
    );
    expect(run.parts.model.parameters().map(({ value }) => value)).toEqual(before);
    await closeRun(run);
  });
});
