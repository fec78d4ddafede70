import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Trajectory } from "../../lib/rollout/trajectory.js";
import { filterObservations } from "../../lib/train/filter-observations.js";
import { makeTrajectory } from "../fakes/make-trajectory.js";

/** `turns/refusals/formatWarnings/reward` for each rollout. */
function group(...texts: string[]): Trajectory[] {
  return texts.map((text, rollout) => {
    const [turns, refusals, formatWarnings, reward] = text.split("/").map(Number);
    return makeTrajectory({ rollout, turns, refusals, formatWarnings, reward });
  });
}

function kept(groups: Trajectory[][], filter: Parameters<typeof filterObservations>[1]): number[][] {
  const { dropped } = filterObservations(groups, filter);
  return groups.map((each) => each.filter((one) => !dropped.has(one)).map(({ rollout }) => rollout));
}

describe("filterObservations", () => {
  const mixed = group("4/0/0/1", "4/1/0/1", "4/0/1/1", "4/1/1/0", "4/4/0/0", "0/0/0/0");

  it("keeps everything and says nothing when it is off", () => {
    for (const filter of [{}, { minCorrect: 0 }])
      expect(filterObservations([mixed], filter)).toEqual({ dropped: new Set(), metrics: {} });
  });

  it.each<[Parameters<typeof filterObservations>[1], number[]]>([
    [{ minValidActions: 0 }, [0, 1, 2, 3, 4]],
    [{ minValidActions: 0.75 }, [0, 1, 2, 3]],
    [{ minValidActions: 1 }, [0, 2]],
    [{ minCleanActions: 0 }, [0, 1, 2, 3, 4]],
    [{ minCleanActions: 0.5 }, [0, 1, 2, 3]],
    [{ minCleanActions: 0.75 }, [0, 1, 2]],
    [{ minCleanActions: 1 }, [0]],
    [{ minValidActions: 1, minCleanActions: 0.75 }, [0, 2]],
    [{ minCorrect: 1 }, [0, 1, 2]],
    [{ minCorrect: 0.75 }, [0, 1, 2, 3]],
    [{ minCorrect: 0.6 }, [0, 1, 2, 3, 4]],
    [{ minCorrect: 0.75, minValidActions: 0.75 }, [0, 1, 2, 3]],
    [{ minCorrect: 0.75, minCleanActions: 0.75 }, [0, 1, 2]],
  ])("%j keeps %j", (filter, expected) => {
    expect(kept([mixed], filter)).toEqual([expected]);
  });

  it("judges each task for itself, and only what is left of it", () => {
    const groups = [
      group("1/0/0/1", "1/0/0/0", "1/0/0/0"),
      group("1/0/0/0", "1/0/0/0"),
      group("2/1/0/1", "2/0/0/0", "2/0/0/1", "2/0/0/0"),
    ];
    expect(kept(groups, { minCorrect: 0.5 })).toEqual([[0, 1], [], [0, 1, 2, 3]]);
    // The correct rollout that the first filter drops makes room for nobody.
    expect(kept(groups, { minCorrect: 0.5, minValidActions: 1 })).toEqual([[0, 1], [], [1, 2]]);
  });

  it("takes a rollout without a reward as incorrect", () => {
    const unscored = { ...makeTrajectory(), reward: null };
    expect(kept([[unscored, ...group("1/0/0/1")]], { minCorrect: 1 })[0]).toHaveLength(1);
  });

  it("counts each dropped rollout once, at the first filter it meets", () => {
    const groups = [mixed, group("1/1/0/0"), []];
    const filter = { minValidActions: 0.5, minCleanActions: 0.75, minCorrect: 1 };
    expect(filterObservations(groups, filter).metrics).toEqual({
      "filter/total": 7,
      "filter/kept": 3,
      "filter/kept_correct": 3,
      "filter/dropped_no_turns": 1,
      "filter/dropped_refusals": 2,
      "filter/dropped_format_warnings": 1,
      "filter/dropped_incorrect": 0,
      "filter/empty_groups": 2,
    });
    expect(filterObservations(groups, { minCorrect: 1 }).metrics).toMatchObject({
      "filter/kept": 3,
      "filter/dropped_no_turns": 1,
      "filter/dropped_incorrect": 3,
    });
  });

  it("keeps every correct rollout and the most incorrect ones that leave the share correct", () => {
    fc.assert(
      fc.property(
        fc.array(fc.boolean(), { maxLength: 30 }),
        // As floor(n (1 - θ) / θ) in whole numbers, which floating point gets wrong for 9 of 0.9.
        fc.integer({ min: 1, max: 20 }),
        (rewards, twentieths) => {
          const rollouts = group(...rewards.map((correct) => `1/0/0/${correct ? 1 : 0}`));
          const correct = rewards.filter(Boolean).length;
          const most = Math.floor((correct * (20 - twentieths)) / twentieths);
          let incorrect = 0;
          const expected = rewards.flatMap((reward, i) => (reward || incorrect++ < most ? [i] : []));
          expect(kept([rollouts], { minCorrect: twentieths / 20 })).toEqual([expected]);
        },
      ),
      { numRuns: 300, examples: [[[...Array(9).fill(true), false, false], 18]] },
    );
  });
});
