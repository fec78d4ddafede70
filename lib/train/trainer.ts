import type { Metrics } from "../report/metrics.js";
import type { Progress } from "../report/progress.js";
import type { Trajectory } from "../rollout/trajectory.js";
import { evaluate } from "./evaluate.js";
import { imitationStep } from "./imitation-step.js";
import { policyStep } from "./policy-step.js";
import { saveRun } from "./save-run.js";
import { StepClock } from "./step-clock.js";
import type { TrainingRun } from "./training-run.js";

export interface TrainerOptions {
  progress: Progress;
  /** Asked before the first step and after every step; true ends the run once the step is saved. */
  shouldStop?(): boolean;
  /** Told the metrics of every step, evaluation included. */
  onStep?(step: number, metrics: Metrics, timings: Metrics): void;
}

/**
 * Takes a run from the step it is at to its last. Every step writes trajectories, metrics and timings, in this order, and every so
 * often a checkpoint; the first, before anything was learned, is `step-0`.
 *
 * @returns `finished`, or `stopped` when `shouldStop` said so.
 * @throws WriteError when the run directory cannot be written; SandboxError when every rollout of a step was excluded.
 */
export async function train(run: TrainingRun, options: TrainerOptions): Promise<"finished" | "stopped"> {
  const { config, directory } = run;
  const { progress } = options;
  // Known only after the line of the step was written, so it goes on the next one.
  let checkpointMs = 0;
  const save = async (): Promise<void> => {
    progress.phase(run.step, "checkpoint");
    const start = performance.now();
    await saveRun(run);
    checkpointMs += performance.now() - start;
  };
  const record = async (
    clock: StepClock,
    { metrics, tokens, trajectories }: { metrics: Metrics; tokens: number; trajectories?: Trajectory[] },
  ): Promise<void> => {
    const elapsedMs = clock.elapsedMs;
    const timings: Metrics = { ...clock.timings() };
    if (tokens > 0) timings["perf/tokens_per_second"] = Math.round((1000 * tokens) / elapsedMs);
    if (checkpointMs > 0) timings["time/checkpoint"] = Math.round(checkpointMs) / 1000;
    checkpointMs = 0;
    await directory.record(run.step, { metrics, timings, trajectories });
    options.onStep?.(run.step, metrics, timings);
    if (run.step > 0) progress.step(run.step, metrics, elapsedMs, tokens);
  };

  if (!run.resumed) {
    if (config.eval.every > 0) {
      const clock = new StepClock();
      const metrics = await clock.time("eval", () => evaluate(run, progress));
      await record(clock, { metrics, tokens: 0 });
    }
    await save();
  }
  if (run.step < run.steps && options.shouldStop?.()) return "stopped";
  while (run.step < run.steps) {
    const step = run.step + 1;
    const clock = new StepClock();
    const done =
      config.algorithm === "sft"
        ? await imitationStep(run, step, clock)
        : await policyStep(run, step, {
            clock,
            onRollout: ({ done, total }) => progress.phase(step, `rollouts ${done}/${total}`),
            onOptimizerStep: (done, total) => progress.phase(step, `optimiser steps ${done}/${total}`),
            onCleanupFailure: (error) => progress.note(error.message),
          });
    run.step = step;
    const last = step === run.steps;
    if (config.eval.every > 0 && (step % config.eval.every === 0 || last)) {
      const measured = await clock.time("eval", () => evaluate(run, progress));
      const exact = done.metrics.exact === true && measured.exact === true;
      Object.assign(done.metrics, measured, { exact });
    }
    await record(clock, done);
    const stop = options.shouldStop?.() ?? false;
    if (stop || last || step % config.checkpointEvery === 0) await save();
    if (stop && !last) return "stopped";
  }
  return "finished";
}
