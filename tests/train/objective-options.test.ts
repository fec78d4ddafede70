import { existsSync } from "node:fs";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { LossOptions } from "../../lib/loss/loss-options.js";
import type { MicroBatch } from "../../lib/loss/micro-batch.js";
import { EmbeddedDecoder } from "../../lib/model/embedded-decoder.js";
import { Progress } from "../../lib/report/progress.js";
import { closeRun } from "../../lib/train/close-run.js";
import type { TrainConfig } from "../../lib/train/config/train-config.js";
import { openParts } from "../../lib/train/open-parts.js";
import { resumeRun } from "../../lib/train/resume-run.js";
import { startRun } from "../../lib/train/start-run.js";
import { train } from "../../lib/train/trainer.js";
import { deterministicFiles, readLines, resumeTiny, runTiny, tinyConfig } from "./tiny-run.js";
import { warmModel } from "./warm-model.js";

interface Recorded {
  ids: number[];
  roles: string;
  logprobs: number[];
}

/** Every step of learning large, so that what refers to the start moves away from it. */
async function warmConfig(overrides: Record<string, unknown> = {}): Promise<TrainConfig> {
  const shape = { steps: 3, keepCheckpoints: 5, optimizer: { learningRate: 1e-2, warmupSteps: 0 } };
  return tinyConfig({ model: { path: await warmModel() }, ...shape, ...overrides });
}

const metrics = (path: string): Promise<Record<string, number>[]> => readLines(path, "metrics.jsonl");

async function weights(path: string, step: number): Promise<string> {
  const file = join(path, "checkpoints", `step-${step}`, "model", "model.safetensors");
  return (await readFile(file)).toString("base64");
}

describe("options of the objective", () => {
  it("reach the loss", async () => {
    const objective = {
      ratioLevel: "sequence",
      epsilonLow: 0.01,
      epsilonHigh: 0.02,
      dualClip: 3,
      logRatioClamp: 5,
      klCoefficient: 0.1,
      klEstimator: "k2",
      entropyCoefficient: 0.01,
    };
    const run = await startRun(await warmConfig({ steps: 1, ...objective }), { onProblem: () => {} });
    const { model } = run.parts;
    const seen: { micro: MicroBatch; options: LossOptions; reference: Float32Array }[] = [];
    const forwardBackward = model.forwardBackward.bind(model);
    const start = await EmbeddedDecoder.load(await warmModel());
    model.forwardBackward = (micro, options) => {
      seen.push({ micro, options, reference: start.logprobs(micro, { temperature: 1 }) });
      return forwardBackward(micro, options);
    };
    await train(run, { progress: new Progress({ steps: 1, quiet: true, stream: { write: () => {} } }) });
    await closeRun(run);
    expect(seen.length).toBeGreaterThan(1);
    for (const { micro, options, reference } of seen) {
      expect(options).toMatchObject({ surrogate: "clip", temperature: 1, ...objective });
      expect(micro.rows.referenceLogprobs).toEqual(reference);
    }
  });

  it.each([
    [{ surrogate: "cispo", epsilonLow: 1 }, []],
    [{ ratioLevel: "sequence", epsilonLow: 3e-4, epsilonHigh: 4e-4 }, []],
    [{ dualClip: 1.01 }, ["policy/clip_fraction_dual"]],
    [{ entropyCoefficient: 0.05 }, ["policy/entropy", "loss/entropy"]],
    [{ klCoefficient: 0.5, klEstimator: "k1" }, ["policy/kl", "loss/kl"]],
  ])("%o make a difference, and are measured", async (objective, keys) => {
    const plain = await runTiny(await warmConfig());
    const path = await runTiny(await warmConfig(objective));
    expect(await weights(path, 0)).toBe(await weights(plain, 0));
    if (!("dualClip" in objective)) expect(await weights(path, 3)).not.toBe(await weights(plain, 3));
    const [before, after] = [(await metrics(plain))[2], (await metrics(path))[2]];
    const added = Object.keys(after).filter((key) => !(key in before) && !key.startsWith("rollout/stop/"));
    expect(added.sort()).toEqual([...keys].sort());
    for (const key of keys) expect(Number.isFinite(after[key]), key).toBe(true);
  });
});

describe("klCoefficient", () => {
  const objective = { klCoefficient: 0.05, minibatchSequences: 16 };

  it("measures from the weights at the start", async () => {
    const path = await runTiny(await warmConfig(objective));
    const start = await EmbeddedDecoder.load(join(path, "checkpoints", "step-0", "model"));
    const lines = await metrics(path);
    // One optimiser step a step: the weights that sampled are those that learned.
    expect(lines[0]["policy/kl"]).toBe(0);
    for (const step of [2, 3]) {
      let sum = 0;
      let count = 0;
      for (const { ids, roles, logprobs } of await readLines<Recorded>(
        path,
        "trajectories",
        `step-${step}.jsonl`,
      )) {
        const packed = { ids: Int32Array.from(ids), cuSeqLens: Int32Array.of(0, ids.length) };
        const reference = start.logprobs(packed, { temperature: 1 });
        const before = count;
        for (let t = 1; t < ids.length; t++) {
          if (roles[t] !== "a") continue;
          const d = logprobs[count - before] - reference[t - 1];
          sum += Math.exp(-d) - 1 + d;
          count++;
        }
      }
      expect(sum / count).toBeGreaterThan(1e-4);
      expect(lines[step - 1]["policy/kl"] / (sum / count)).toBeCloseTo(1, 3);
      expect(lines[step - 1]["loss/kl"]).toBeGreaterThan(0);
    }
  });

  it("refers to the same weights after a resume, whatever became of the model", async () => {
    const whole = await runTiny(await warmConfig(objective));
    // The first checkpoint is dropped on the way.
    const path = await runTiny(await warmConfig({ ...objective, keepCheckpoints: 1 }), 2);
    expect(existsSync(join(path, "checkpoints", "step-0"))).toBe(false);
    expect(await resumeTiny(path)).toEqual([]);
    expect(await deterministicFiles(path)).toEqual(await deterministicFiles(whole));
    expect(await weights(path, 3)).toBe(await weights(whole, 3));
  });

  it("is refused without weights to refer to", async () => {
    const config = await warmConfig(objective);
    const without = async (asked: TrainConfig) => ({ ...(await openParts(asked)), openReference: undefined });
    await expect(startRun(config, { onProblem: () => {}, openParts: without })).rejects.toMatchObject({
      code: "ERR_CONFIG",
      message: expect.stringContaining('"klCoefficient" needs weights to refer to'),
    });
    expect(existsSync(config.out)).toBe(false);
    const path = await runTiny(config, 1);
    await rm(join(path, "reference"), { recursive: true });
    const resumed = resumeRun(path, { onNote: () => {} });
    await expect(resumed).rejects.toThrow(join(path, "reference"));
    // Nothing is left locked.
    await expect(resumeRun(path, { onNote: () => {} })).rejects.not.toMatchObject({ code: "ERR_RUN_EXISTS" });
  });
});
