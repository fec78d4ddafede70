import { describe, expect, it } from "vitest";
import { echoLoss } from "../../lib/loss/echo-loss.js";
import { referenceLoss } from "../../lib/loss/reference.js";
import { tiers, useTier } from "../native/each-tier.js";
import { copyBlock, type RandomBlock } from "./random-block.js";

describe.each(tiers)("echoLoss on %s", (isa) => {
  it("clips at the edges as torch.clamp does: the gradient flows at 1 ± epsilon itself", () => {
    useTier(isa);
    const eps = 0.25; // 1 ± eps and their logarithms' exponentials are exact enough to sit on the edge on purpose
    const logits = (): Float32Array => Float32Array.of(0, 0);
    const lp = Math.fround(-Math.LN2);
    const edge = (ratio: number, nudge: number): number => Math.fround(lp - Math.log(ratio) + nudge);
    for (const [ratio, advantage, nudge, flows] of [
      [1.25, 1, 1e-6, true],
      [1.25, 1, -1e-6, false],
      [1.25, -1, -1e-3, true],
      [0.75, -1, -1e-6, true],
      [0.75, -1, 1e-6, false],
      [0.75, 1, 1e-3, true],
    ] as const) {
      const x = logits();
      const { metrics } = echoLoss({
        logits: x,
        targets: Int32Array.of(0),
        actionWeights: Float32Array.of(1),
        observationWeights: Float32Array.of(0),
        advantages: Float32Array.of(advantage),
        oldLogprobs: Float32Array.of(edge(ratio, nudge)),
        epsilonLow: eps,
        epsilonHigh: eps,
      });
      const r = Math.exp(lp - edge(ratio, nudge));
      expect(x[0]).toBeCloseTo(flows ? -r * advantage * 0.5 : 0, 6);
      expect(x[0] === 0 && Object.is(x[1], 0)).toBe(!flows);
      expect(metrics.clippedLow + metrics.clippedHigh).toBe(flows ? 0 : 1);
      expect(metrics.clippedHigh).toBe(!flows && advantage > 0 ? 1 : 0);
    }
    const x = logits();
    const onEdge = echoLoss({
      logits: x,
      targets: Int32Array.of(0),
      actionWeights: Float32Array.of(1),
      observationWeights: Float32Array.of(0),
      advantages: Float32Array.of(1),
      onPolicy: true,
      epsilonLow: 0,
      epsilonHigh: 0,
    });
    expect(x[0]).toBe(-0.5);
    expect(onEdge.metrics.clippedHigh).toBe(0);
  });

  it("clamps the log ratio, with no gradient outside", () => {
    useTier(isa);
    for (const [delta, advantage] of [
      [19.99, -1],
      [20.01, -1],
      [90, -1],
      [-19.99, 1],
      [-20.01, 1],
      [-1e4, 1],
      [1e4, 1],
      [90, 0],
    ]) {
      for (const logRatioClamp of [20, false] as const) {
        const block: RandomBlock = {
          logits: Float32Array.of(0, 0, 0, 0),
          vocabSize: 4,
          ld: 4,
          targets: Int32Array.of(2),
          actionWeights: Float32Array.of(0.5),
          observationWeights: Float32Array.of(0),
          advantages: Float32Array.of(advantage),
          oldLogprobs: Float32Array.of(Math.log(0.25) - delta),
        };
        const input = copyBlock(block);
        const { metrics } = echoLoss({ ...input, logRatioClamp });
        const expected = referenceLoss({
          logits: block.logits,
          rows: block,
          vocabSize: 4,
          options: { logRatioClamp },
        });
        const close = (a: number, b: number): boolean =>
          a === b ||
          Math.abs(a - b) <= 1e-4 * Math.abs(b) + 1e-9 ||
          (Math.abs(a) > 3e38 && Math.abs(b) > 3e38);
        for (let j = 0; j < 4; j++) expect(close(input.logits[j], expected.gradient[j])).toBe(true);
        expect(close(metrics.policyLoss, expected.totals.policyLoss)).toBe(true);
        expect(input.logits.some(Number.isNaN)).toBe(false);
      }
    }
  });

  it("gives unusual rows their documented meaning", () => {
    useTier(isa);
    const run = (row: number[], target: number, kind: "action" | "observation") => {
      const logits = Float32Array.from([...row, 7]); // one padding column
      const { metrics, logprobs } = echoLoss({
        logits,
        vocabSize: row.length,
        ld: row.length + 1,
        targets: Int32Array.of(target),
        actionWeights: Float32Array.of(kind === "action" ? 1 : 0),
        observationWeights: Float32Array.of(kind === "observation" ? 1 : 0),
        advantages: Float32Array.of(1),
        oldLogprobs: Float32Array.of(-1),
      });
      return { gradient: [...logits], metrics, logprob: logprobs[0] };
    };
    const wide = Array.from({ length: 33 }, (_, j) => (j % 5 === 0 ? -Infinity : 0));

    const some = run(wide, 1, "observation");
    expect(some.logprob).toBeCloseTo(-Math.log(26), 5);
    for (const [j, x] of wide.entries()) if (x === -Infinity) expect(some.gradient[j]).toBe(0);
    expect(some.metrics.nonfiniteRows).toBe(0);

    const target = run(wide, 5, "observation");
    expect(target.logprob).toBe(-Infinity);
    expect(target.metrics.observationLoss).toBe(Infinity);
    expect(target.gradient[5]).toBe(-1);
    expect(target.gradient[1]).toBeCloseTo(1 / 26, 6);
    expect(target.metrics.nonfiniteRows).toBe(1);

    const impossible = run(wide, 5, "action");
    expect(impossible.metrics.ratioSum).toBeCloseTo(Math.exp(-20), 12);
    expect(impossible.gradient.every((g) => g === 0)).toBe(true);
    expect(impossible.metrics.nonfiniteRows).toBe(1);

    const empty = run(new Array<number>(33).fill(-Infinity), 5, "observation");
    expect(empty.gradient.every((g) => Object.is(g, 0))).toBe(true);
    expect(empty.metrics).toMatchObject({ nonfiniteRows: 1, observationLoss: 0, observationNllSum: 0 });

    for (const poison of [Number.NaN, Infinity])
      for (const at of [0, 4, 5, 20, 32]) {
        const bad = run(
          wide.map((x, j) => (j === at ? poison : x)),
          4,
          "action",
        );
        expect(bad.logprob).toBeNaN();
        expect(bad.gradient.slice(0, 33).every(Number.isNaN)).toBe(true);
        expect(bad.gradient[33]).toBe(0);
        expect(bad.metrics.nonfiniteRows).toBe(1);
      }

    const huge = run([3e38, -3e38, 0, 3e38, -3.4028234663852886e38], 0, "observation");
    expect(huge.logprob).toBeCloseTo(-Math.LN2, 6);
    expect(huge.gradient).toEqual([-0.5, 0, 0, 0.5, 0, 0]);
    const low = run(new Array<number>(40).fill(-3.4028234663852886e38), 3, "observation");
    expect(low.logprob).toBeCloseTo(-Math.log(40), 5);
    const equal = run(new Array<number>(100).fill(12.5), 99, "observation");
    expect(equal.logprob).toBeCloseTo(-Math.log(100), 6);
  });

  it("has no gradient at a logit of -Infinity under a softcap, whose slope there is 0, also at the target", () => {
    useTier(isa);
    const rows = {
      targets: Int32Array.of(1),
      actionWeights: Float32Array.of(0),
      observationWeights: Float32Array.of(1),
      advantages: Float32Array.of(0),
      onPolicy: true,
    };
    const options = { logitSoftcap: 5 };
    const logits = Float32Array.of(1, -Infinity, 2, -Infinity);
    const { gradient } = referenceLoss({ logits, rows, vocabSize: 4, options });
    echoLoss({ logits, ...rows, ...options });
    for (const values of [logits, gradient]) expect([values[1], values[3]].map(Math.abs)).toEqual([0, 0]);
    expect(logits[0]).toBeCloseTo(gradient[0], 6);
    expect(gradient[0]).toBeGreaterThan(0.1);
  });
});
