import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { TrainableModel } from "../../lib/model/trainable-model.js";
import { CounterRandom } from "../../lib/random/counter-random.js";
import { makeMicroBatch } from "./make-micro-batch.js";

/** What a `TrainableModel` must do, whoever implements it. Vocabulary of at least 16. */
export function trainableModelConformance(
  name: string,
  options: {
    /** A small model with weights large enough for its answers to depend on every parameter. */
    create: () => Promise<TrainableModel>;
    /** A model of another shape: its checkpoints must be refused. */
    createOther: () => Promise<TrainableModel>;
    /** Largest difference of a log-probability between packings; 0 where the model promises bit-identity. */
    packingTolerance: number;
  },
): void {
  describe(`TrainableModel: ${name}`, () => {
    const random = new CounterRandom(11n);
    const sequences = [9, 1, 14, 5].map((length) => Array.from({ length }, () => random.integer(16)));
    const micro = makeMicroBatch(sequences, (t) => 0.1 + (t % 3) * 0.2);
    const other = makeMicroBatch([sequences[2]], () => 0.5);
    let model: TrainableModel;
    let directory: string;

    beforeAll(async () => {
      model = await options.create();
      directory = mkdtempSync(join(tmpdir(), "trainable-model-"));
    });
    afterAll(() => rmSync(directory, { recursive: true }));

    const gradients = () => model.parameters().map(({ grad }) => Float32Array.from(grad));
    const values = () => model.parameters().map(({ value }) => Float32Array.from(value));
    const restore = (saved: Float32Array[]) => {
      for (const [i, { value }] of model.parameters().entries()) value.set(saved[i]);
      model.parametersChanged();
    };
    const loss = async () => (await model.forwardBackward(micro, {})).observationLoss;

    it("names its parameters once, in a stable order, over stable memory", async () => {
      const before = model.parameters();
      await loss();
      const after = model.parameters();
      expect(new Set(before.map((parameter) => parameter.name)).size).toBe(before.length);
      expect(after.map((parameter) => parameter.name)).toEqual(before.map((parameter) => parameter.name));
      for (const [i, { shape, value, grad }] of before.entries()) {
        const size = shape.reduce((product, n) => product * n, 1);
        expect([value.length, grad.length]).toEqual([size, size]);
        expect(after[i].value.buffer).toBe(value.buffer);
        expect(after[i].grad.buffer).toBe(grad.buffer);
      }
      expect(before.some(({ decay }) => decay)).toBe(true);
    });

    it("reports the observation nll at temperature 1 where it is known, and as what it is", async () => {
      const plain = await model.forwardBackward(micro, {});
      expect(plain.observationNllSum).toBeGreaterThan(0);
      expect(plain.observationNllAtOneSum).toBe(plain.observationNllSum);
      const warm = await model.forwardBackward(micro, { temperature: 0.7 });
      expect(warm).not.toHaveProperty("observationNllAtOneSum");
      const both = await model.forwardBackward(micro, { temperature: 0.7, nllAtOne: true });
      expect(both.observationNllAtOneSum).toBeCloseTo(plain.observationNllSum, 4);
    });

    it("gives the log-probabilities its loss is made of, and 0 on last rows", async () => {
      for (const temperature of [1, 0.7]) {
        const logprobs = await model.logprobs(micro, { temperature });
        for (const end of micro.cuSeqLens.subarray(1)) expect(logprobs[end - 1]).toBe(0);
        const totals = await model.forwardBackward(micro, { temperature });
        let expected = 0;
        for (const [t, logprob] of logprobs.entries()) expected -= micro.rows.observationWeights[t] * logprob;
        expect(Math.abs(totals.observationLoss - expected)).toBeLessThan(1e-5 * expected);
        expect(totals.observationTokens).toBe(micro.ids.length - sequences.length);
        expect(totals.actionTokens).toBe(0);
      }
    });

    it("does not let packed sequences see each other", async () => {
      const packed = await model.logprobs(micro, { temperature: 1 });
      for (const [i, sequence] of sequences.entries()) {
        const alone = await model.logprobs(
          makeMicroBatch([sequence], () => 1),
          { temperature: 1 },
        );
        for (const [t, logprob] of alone.entries())
          expect(Math.abs(packed[micro.cuSeqLens[i] + t] - logprob)).toBeLessThanOrEqual(
            options.packingTolerance,
          );
      }
    });

    it("does not let a token see later ones", async () => {
      const [sequence] = sequences;
      const whole = await model.logprobs(
        makeMicroBatch([sequence], () => 1),
        { temperature: 1 },
      );
      const begin = await model.logprobs(
        makeMicroBatch([sequence.slice(0, 5)], () => 1),
        { temperature: 1 },
      );
      for (let t = 0; t < 4; t++)
        expect(Math.abs(whole[t] - begin[t])).toBeLessThanOrEqual(options.packingTolerance);
    });

    it("accumulates gradients until they are zeroed", async () => {
      model.zeroGradients();
      for (const grad of gradients()) expect(grad.every((value) => value === 0)).toBe(true);
      await model.forwardBackward(micro, {});
      const first = gradients();
      model.zeroGradients();
      await model.forwardBackward(other, {});
      const second = gradients();
      await model.forwardBackward(micro, {});
      for (const [i, sum] of gradients().entries()) {
        let difference = 0;
        let scale = 0;
        for (const [j, value] of sum.entries()) {
          difference += (value - first[i][j] - second[i][j]) ** 2;
          scale += (first[i][j] ** 2 + second[i][j] ** 2) as number;
        }
        expect(scale).toBeGreaterThan(0);
        expect(Math.sqrt(difference / scale)).toBeLessThan(1e-5);
      }
      model.zeroGradients();
    });

    it("scales gradients, not losses, by gradScale", async () => {
      model.zeroGradients();
      const plain = await model.forwardBackward(micro, {});
      const expected = gradients();
      model.zeroGradients();
      const scaled = await model.forwardBackward(micro, { gradScale: 2 });
      expect(scaled.observationLoss).toBe(plain.observationLoss);
      // A power of two: exact.
      for (const [i, grad] of gradients().entries())
        for (const [j, value] of grad.entries()) expect(value).toBe(2 * expected[i][j]);
      model.zeroGradients();
    });

    it("has the gradient of its own loss: central differences along each parameter's gradient", async () => {
      model.zeroGradients();
      await loss();
      const grads = gradients();
      const saved = values();
      for (const [i, { name: parameter, value }] of model.parameters().entries()) {
        const norm = Math.hypot(...grads[i]);
        expect(norm, parameter).toBeGreaterThan(0);
        const step = 2e-3 * Math.max(1, Math.hypot(...saved[i]));
        const at = async (sign: number): Promise<number> => {
          for (const [j, weight] of saved[i].entries())
            value[j] = weight + (sign * step * grads[i][j]) / norm;
          model.parametersChanged();
          return loss();
        };
        const slope = ((await at(1)) - (await at(-1))) / (2 * step);
        value.set(saved[i]);
        expect(Math.abs(slope / norm - 1), parameter).toBeLessThan(0.02);
      }
      restore(saved);
      model.zeroGradients();
    });

    it("takes new values once told, and the old answer returns with the old values", async () => {
      const saved = values();
      const before = await model.logprobs(micro, { temperature: 1 });
      for (const [i, { value }] of model.parameters().entries())
        value.set(saved[i].map((weight) => weight * 1.1));
      model.parametersChanged();
      expect(await model.logprobs(micro, { temperature: 1 })).not.toEqual(before);
      restore(saved);
      expect(await model.logprobs(micro, { temperature: 1 })).toEqual(before);
    });

    it("saves and loads every bit, and the same weights as the same files", async () => {
      const saved = values();
      const before = await model.logprobs(micro, { temperature: 1 });
      const [first, second] = [join(directory, "first"), join(directory, "second")];
      await model.save(first);
      restore(saved.map((tensor) => tensor.map((weight) => weight + 1)));
      await model.load(first);
      expect(values()).toEqual(saved);
      expect(await model.logprobs(micro, { temperature: 1 })).toEqual(before);
      await model.save(second);
      const files = readdirSync(first).sort();
      expect(files).toContain("model.safetensors");
      expect(readdirSync(second).sort()).toEqual(files);
      for (const file of files)
        expect(readFileSync(join(first, file)).equals(readFileSync(join(second, file)))).toBe(true);
    });

    it("refuses a checkpoint of another shape and keeps its weights", async () => {
      const saved = values();
      const path = join(directory, "other");
      await (await options.createOther()).save(path);
      await expect((async () => model.load(path))()).rejects.toMatchObject({
        code: "ERR_CHECKPOINT_MISMATCH",
      });
      expect(values()).toEqual(saved);
    });
  });
}
