// The key-value cached sampler against the decoder it samples from: the same bits whatever the slots hold, and the draws that the
// counters and the logits dictate.

import { describe, expect, it } from "vitest";
import { resolveLossOptions } from "../../lib/loss/resolve-loss-options.js";
import type { NativeDecoder, NativeDecoderConfig } from "../../lib/native/native-model.js";
import { CounterRandom } from "../../lib/random/counter-random.js";
import { philox } from "../../lib/random/philox.js";
import { tiers, useTier } from "../native/each-tier.js";
import { createNativeDecoder } from "./create-native-decoder.js";
import { sampleStep } from "./sample-step.js";

const TEMPERATURE = 0.8;
const ROLLOUTS = 200;
const SLOTS = 13;

const CONFIG: NativeDecoderConfig = {
  vocabSize: 67,
  hiddenSize: 32,
  intermediateSize: 48,
  numLayers: 2,
  numHeads: 4,
  numKvHeads: 2,
  headDim: 16,
  ropeTheta: 10_000,
  rmsNormEps: 1e-6,
  tieWordEmbeddings: true,
  maxPositions: 160,
};

const createDecoder = (): NativeDecoder => createNativeDecoder(CONFIG);

function descend(decoder: NativeDecoder, steps: number): void {
  const random = new CounterRandom(5n);
  const ids = Int32Array.from({ length: 90 }, () => random.integer(CONFIG.vocabSize));
  const rows = {
    targets: ids.map((_, t) => ids[(t + 1) % 90]),
    actionWeights: new Float32Array(90),
    observationWeights: new Float32Array(90).fill(1 / 90),
    advantages: new Float32Array(90),
    onPolicy: true,
  };
  const options = resolveLossOptions("test", { temperature: TEMPERATURE });
  for (let step = 0; step < steps; step++) {
    decoder.zeroGradients();
    decoder.forwardBackward(ids, Int32Array.of(0, 31, 90), rows, options);
    for (const { value, grad } of decoder.parameters())
      for (let i = 0; i < value.length; i++) value[i] -= 0.02 * Math.sign(grad[i]);
    decoder.parametersChanged();
  }
}

interface Rollout {
  key: bigint;
  /** Text the sampler is given, then sampled and given text in turn. */
  ids: number[];
  /** NaN where the token was given. */
  logprobs: number[];
  fed: number;
  length: number;
}

/**
 * Ragged rollouts over a few slots, in pieces of random size, in random order, with random pauses, rollouts that are given more text in their
 * middle, and slots that are emptied or cut back and fed again.
 */
function sampleRollouts(decoder: NativeDecoder, schedule: bigint): Rollout[] {
  const sampler = decoder.createSampler(SLOTS, CONFIG.maxPositions);
  const random = new CounterRandom(schedule);
  const text = (source: CounterRandom, n: number) =>
    Array.from({ length: n }, () => source.integer(CONFIG.vocabSize));
  const running = new Map<number, Rollout>();
  const done: Rollout[] = [];
  let started = 0;
  while (done.length < ROLLOUTS) {
    for (let slot = 0; slot < SLOTS; slot++)
      if (!running.has(slot) && started < ROLLOUTS && random.next() < 0.4) {
        const own = new CounterRandom(BigInt(started));
        const ids = text(own, 1 + own.integer(60));
        sampler.truncate(slot, 0);
        running.set(slot, {
          key: (BigInt(started++) * 0x9e3779b97f4a7c15n) & 0xffff_ffff_ffff_ffffn,
          ids,
          logprobs: ids.map(() => Number.NaN),
          fed: 0,
          length: ids.length + 1 + own.integer(60),
        });
      }
    const chosen = random.shuffle([...running.keys()]).filter(() => random.next() < 0.7);
    const entries = chosen.map((slot) => {
      const rollout = running.get(slot) as Rollout;
      if (rollout.fed > 0 && random.next() < 0.05) {
        rollout.fed = random.integer(rollout.fed);
        sampler.truncate(slot, rollout.fed);
      }
      const count = Math.min(rollout.ids.length - rollout.fed, 1 + random.integer(24));
      const tokens = rollout.ids.slice(rollout.fed, rollout.fed + count);
      rollout.fed += count;
      return { slot, tokens, seed: rollout.key };
    });
    if (entries.length === 0) continue;
    const { ids, logprobs } = sampleStep(sampler, entries, TEMPERATURE);
    for (const [i, { slot }] of entries.entries()) {
      const rollout = running.get(slot) as Rollout;
      expect(sampler.length(slot)).toBe(rollout.fed);
      if (rollout.fed < rollout.ids.length) continue;
      rollout.ids.push(ids[i]);
      rollout.logprobs.push(logprobs[i]);
      // Now and then the environment answers: what it says depends on the rollout alone.
      if (rollout.ids.length % 9 === 0) {
        const answer = text(new CounterRandom(rollout.key ^ BigInt(rollout.ids.length)), 3);
        rollout.ids.push(...answer);
        rollout.logprobs.push(...answer.map(() => Number.NaN));
      }
      if (rollout.ids.length >= rollout.length) {
        running.delete(slot);
        done.push(rollout);
      }
    }
  }
  return done.sort((a, b) => (a.key < b.key ? -1 : 1));
}

const bits = (x: number): number => new Int32Array(Float32Array.of(x).buffer)[0];

for (const isa of tiers)
  describe(`native sampler, tier ${isa}`, () => {
    it("samples with the trainer's log-probabilities, bit for bit, in any schedule, with 1 and 2 threads", () => {
      const results = [
        { threads: 1, schedule: 1n },
        { threads: 2, schedule: 2n },
      ].map(({ threads, schedule }) => {
        useTier(isa, threads);
        const decoder = createDecoder();
        descend(decoder, 3);
        const rollouts = sampleRollouts(decoder, schedule);
        expect(rollouts).toHaveLength(ROLLOUTS);
        const cuSeqLens = [0];
        for (const { ids } of rollouts) cuSeqLens.push(cuSeqLens[cuSeqLens.length - 1] + ids.length);
        const packed = Int32Array.from(rollouts.flatMap(({ ids }) => ids));
        const trainer = decoder.logprobs(packed, Int32Array.from(cuSeqLens), TEMPERATURE);
        let compared = 0;
        let different = 0;
        for (const [i, { logprobs }] of rollouts.entries())
          for (const [t, logprob] of logprobs.entries()) {
            if (Number.isNaN(logprob)) continue;
            compared++;
            if (bits(trainer[cuSeqLens[i] + t - 1]) !== bits(logprob)) different++;
          }
        expect(compared).toBeGreaterThan(15 * ROLLOUTS);
        expect(different).toBe(0);
        return rollouts.map(({ ids, logprobs }) => ({ ids, logprobs }));
      });
      // Another schedule and another number of threads: the same tokens with the same bits.
      expect(results[1]).toEqual(results[0]);
    });

    it("draws by inverse cumulative probability of philox's number for the token's position", () => {
      useTier(isa);
      const decoder = createDecoder();
      const sampler = decoder.createSampler(3, 40);
      const random = new CounterRandom(9n);
      const seed = 0xfedc_ba98_7654_3210n;
      const key = [Number(seed & 0xffff_ffffn), Number(seed >> 32n)] as const;
      const ids = Array.from({ length: 40 }, () => random.integer(CONFIG.vocabSize));
      let compared = 0;
      for (let n = 1; n <= 40; n++) {
        sampler.truncate(1, 0);
        const drawn = sampleStep(sampler, [{ slot: 1, tokens: ids.slice(0, n), seed }], 1.3).ids[0];
        const logits = decoder.logits(Int32Array.from(ids.slice(0, n)), Int32Array.of(0, n));
        const row = Array.from(logits.subarray((n - 1) * CONFIG.vocabSize));
        const max = Math.max(...row);
        const weights = row.map((x) => Math.exp((x - max) / 1.3));
        const words = philox([n, 0, 0, 0], key);
        const uniform = ((words[0] >>> 5) * 67108864 + (words[1] >>> 6)) / 9007199254740992;
        const wanted = uniform * weights.reduce((sum, w) => sum + w, 0);
        let sum = 0;
        const edges = weights.map((w) => (sum += w));
        // Skip what float32 weights may decide otherwise.
        if (edges.some((edge) => Math.abs(edge - wanted) < 1e-4)) continue;
        compared++;
        expect(drawn).toBe(edges.findIndex((edge) => edge > wanted));
      }
      expect(compared).toBeGreaterThan(35);
    });
  });
