import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Environment } from "../../lib/environments/environment.js";
import { TaskError } from "../../lib/errors/task-error.js";
import { EmbeddedDecoder } from "../../lib/model/embedded-decoder.js";
import { Progress } from "../../lib/report/progress.js";
import type { Trajectory } from "../../lib/rollout/trajectory.js";
import { closeRun } from "../../lib/train/close-run.js";
import type { TrainConfig } from "../../lib/train/config/train-config.js";
import { startRun } from "../../lib/train/start-run.js";
import { train } from "../../lib/train/trainer.js";
import { deterministicFiles, readLines, resumeTiny, runTiny, tinyConfig } from "./tiny-run.js";
import { warmModel } from "./warm-model.js";

type Line = Record<string, number>;

/** One optimiser step per training step, from a decoder that writes valid moves. */
async function warmConfig(overrides: Record<string, unknown> = {}): Promise<TrainConfig> {
  const shape = { minibatchSequences: 16, steps: 2, keepCheckpoints: 5 };
  return tinyConfig({ model: { path: await warmModel() }, ...shape, ...overrides });
}

const metrics = (path: string): Promise<Line[]> => readLines<Line>(path, "metrics.jsonl");

async function weights(path: string, step: number): Promise<string> {
  const file = join(path, "checkpoints", `step-${step}`, "model", "model.safetensors");
  return (await readFile(file)).toString("base64");
}

/** Plays a configuration with other verdicts on the same rollouts. */
async function judgedBy(config: TrainConfig, judge: (reward: number) => number): Promise<string> {
  const run = await startRun(config, { onProblem: () => {} });
  const { family } = run.parts;
  const judged = (world: Environment): Environment => ({
    reset: (signal) => world.reset(signal),
    step: (action, signal) => world.step(action, signal),
    score: async (signal) => judge(await world.score(signal)),
    dispose: () => world.dispose(),
  });
  run.parts.family = {
    ...family,
    createEnvironment: (task, sandboxes) => judged(family.createEnvironment(task, sandboxes)),
  };
  try {
    await train(run, { progress: new Progress({ steps: 2, quiet: true, stream: { write: () => {} } }) });
  } finally {
    await closeRun(run);
  }
  return config.out;
}

const broken = (): number => {
  throw new TaskError("ERR_VERIFIER", "[verifier] broken: expected a verdict, got none.");
};

describe("env-only", () => {
  it("needs no reward: other verdicts and none at all lead to the same weights", async () => {
    const config = (): Promise<TrainConfig> => warmConfig({ envOnly: true, lambda: 1 });
    const plain = await runTiny(await config());
    const learned = await weights(plain, 2);
    expect(learned).not.toBe(await weights(plain, 0));
    expect(await weights(await judgedBy(await config(), (reward) => 1 - reward), 2)).toBe(learned);
    const unjudged = await judgedBy(await config(), broken);
    expect(await weights(unjudged, 2)).toBe(learned);
    const lines = await metrics(unjudged);
    for (const line of lines) {
      expect("reward/mean" in line).toBe(false);
      expect(line["rollout/stop/verifier_error"]).toBe(16);
      expect(line.exact).toBe(false);
    }
    // Where rewards do count they make the difference.
    const judged = (judge: (reward: number) => number): Promise<string> =>
      warmConfig().then((echo) => judgedBy(echo, judge));
    expect(await weights(await judged((reward) => 1 - reward), 2)).not.toBe(
      await weights(await judged((reward) => reward), 2),
    );
    await expect(judged(broken)).rejects.toThrow(/every rollout of step 1 was excluded/);
  });

  it("reports what it learns from and nothing of a policy term", async () => {
    const path = await runTiny(await warmConfig({ envOnly: true }));
    for (const [i, line] of (await metrics(path)).entries()) {
      const keys = Object.keys(line).filter((key) => key === "loss/policy" || key.startsWith("policy/"));
      expect(keys).toEqual([]);
      const trajectories = await readLines<Trajectory>(path, "trajectories", `step-${i + 1}.jsonl`);
      const letters = trajectories.map(({ roles }) => roles).join("");
      const count = (letter: string): number => letters.split(letter).length - 1;
      expect(line["observation/tokens"]).toBe(count("o"));
      expect(line["action/tokens"]).toBe(count("a"));
      expect(line.gradient_token_share).toBeCloseTo(count("o") / letters.length, 12);
      expect(line["loss/observation"]).toBeGreaterThan(0);
      expect("reward/mean" in line).toBe(true);
    }
  });
});

describe("observation filters in a run", () => {
  it("leave out observations and nothing else", async () => {
    const limits = { maxTurns: 16 };
    const config = { lambda: 0.5, groupSize: 8, minibatchSequences: 32, steps: 1, limits };
    const whole = await runTiny(await warmConfig(config));
    const filtered = await runTiny(await warmConfig({ ...config, observationFilter: { minCorrect: 1 } }));
    const [[before], [after]] = [await metrics(whole), await metrics(filtered)];
    const trajectories = await readLines<Trajectory>(filtered, "trajectories", "step-1.jsonl");
    expect(trajectories).toEqual(await readLines<Trajectory>(whole, "trajectories", "step-1.jsonl"));
    const correct = trajectories.filter(({ reward }) => reward === 1);
    expect(correct.length).toBeGreaterThan(0);
    expect(correct.length).toBeLessThan(32);
    expect(after).toMatchObject({ "filter/total": 32, "filter/kept": correct.length });
    for (const key of ["loss/policy", "policy/action_nll", "action/tokens", "rollout/turns"])
      expect(after[key]).toBe(before[key]);

    const start = await EmbeddedDecoder.load(await warmModel());
    let loss = 0;
    let tokens = 0;
    for (const { ids, roles } of correct) {
      const packed = { ids: Int32Array.from(ids), cuSeqLens: Int32Array.of(0, ids.length) };
      const logprobs = start.logprobs(packed, { temperature: 1 });
      const observed = [...ids.keys()].filter((t) => roles[t] === "o");
      const warned = roles.split("w").length - 1;
      const nll = -observed.reduce((sum, t) => sum + logprobs[t - 1], 0);
      loss += (0.5 / 32 / (observed.length + warned)) * nll;
      tokens += observed.length;
    }
    expect(after["loss/observation"] / loss).toBeCloseTo(1, 5);
    expect(after["loss/observation"]).toBeLessThan(before["loss/observation"]);
    expect(after["observation/tokens"]).toBe(tokens);
  });

  it("that drop everything leave GRPO, or nothing with envOnly", async () => {
    // A decoder that was never trained writes no valid move.
    const drop = {
      lambda: 1,
      steps: 2,
      keepCheckpoints: 5,
      observationFilter: { minValidActions: 1 },
      optimizer: { weightDecay: 0 },
    };
    const grpo = await runTiny(tinyConfig({ ...drop, algorithm: "grpo" }));
    const echo = await runTiny(tinyConfig(drop));
    expect(await weights(echo, 2)).toBe(await weights(grpo, 2));
    const envOnly = await runTiny(tinyConfig({ ...drop, envOnly: true }));
    expect(await weights(envOnly, 2)).toBe(await weights(envOnly, 0));
    for (const line of await metrics(envOnly)) {
      expect(line).toMatchObject({
        "filter/total": 16,
        "filter/kept": 0,
        "filter/dropped_refusals": 16,
        "filter/empty_groups": 4,
        "loss/observation": 0,
        "observation/tokens": 0,
        "optim/skipped": 0,
      });
      expect("observation/nll" in line).toBe(false);
    }
  });
});

describe("observation targets in a run", () => {
  it.each([
    ["observations", "o", "observation/nll"],
    ["all", "ow", "observation/target_nll"],
    ["warnings", "w", "observation/target_nll"],
  ])("%s are the tokens %s, reported as %s", async (observationTargets, letters, key) => {
    const config = await warmConfig({
      observationTargets,
      steps: 1,
      temperature: 1.5,
      limits: { maxTurns: 4 },
    });
    const path = await runTiny(config);
    const [line] = await metrics(path);
    const trajectories = await readLines<Trajectory>(path, "trajectories", "step-1.jsonl");
    const count = trajectories
      .map(({ roles }) => [...roles].filter((letter) => letters.includes(letter)).length)
      .reduce((a, b) => a + b);
    expect(count).toBeGreaterThan(0);
    expect(line["observation/tokens"]).toBe(count);
    const reported = Object.keys(line).filter((each) => /^observation\/.*nll$/.test(each));
    expect(reported).toEqual([key]);
  });

  it("are limited by maxObservationTokens", async () => {
    const path = await runTiny(await warmConfig({ maxObservationTokens: 1, steps: 1 }));
    const [line] = await metrics(path);
    const trajectories = await readLines<Trajectory>(path, "trajectories", "step-1.jsonl");
    const answers = trajectories.flatMap(({ roles }) => roles.match(/[ow]*o[ow]*/g) ?? []);
    expect(line["observation/tokens"]).toBe(answers.length);
  });
});

describe("lambda over a run", () => {
  // With a learning rate that moves no weight, every step's loss is that of lambda 1 times the lambda in force.
  const still = { steps: 4, optimizer: { learningRate: 1e-30, weightDecay: 0 } };

  it.each<[string, object, number[]]>([
    ["constant", { lambda: 0.25 }, [0.25, 0.25, 0.25, 0.25]],
    [
      "linear",
      { lambda: 0.5, lambdaSchedule: { kind: "linear", to: 0.125, steps: 3 } },
      [0.5, 0.375, 0.25, 0.125],
    ],
    [
      "step",
      { lambda: 0.5, lambdaSchedule: { kind: "step", steps: [1, 3], values: [0.25, 0] } },
      [0.5, 0.25, 0.25, 0],
    ],
  ])("is %s, also across a resume", async (_name, overrides, expected) => {
    const reference = await metrics(await runTiny(await warmConfig({ ...still, lambda: 1 })));
    const path = await runTiny(await warmConfig({ ...still, ...overrides }));
    const lines = await metrics(path);
    expect(lines.map((line) => line["loss/lambda"])).toEqual(expected);
    for (const [k, lambda] of expected.entries()) {
      const { "loss/observation": loss } = reference[k];
      expect(Math.abs(lines[k]["loss/observation"] - lambda * loss)).toBeLessThan(1e-6 * loss);
      expect("observation/nll" in lines[k]).toBe(lambda > 0);
    }
    const stopped = await runTiny(await warmConfig({ ...still, ...overrides }), 2);
    await resumeTiny(stopped);
    expect(await deterministicFiles(stopped)).toEqual(await deterministicFiles(path));
  });
});
