import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Progress } from "../../lib/report/progress.js";
import { closeRun } from "../../lib/train/close-run.js";
import { openParts } from "../../lib/train/open-parts.js";
import type { PartsOpener, ResumedWeights } from "../../lib/train/parts-opener.js";
import { resumeRun } from "../../lib/train/resume-run.js";
import { startRun } from "../../lib/train/start-run.js";
import { train } from "../../lib/train/trainer.js";
import type { TrainingRun } from "../../lib/train/training-run.js";
import { deterministicFiles, runTiny, tinyConfig } from "./tiny-run.js";

const onProblem = (): void => {};
const onNote = (): void => {};

async function finish(run: TrainingRun, stopAfter?: number): Promise<void> {
  const progress = new Progress({ steps: run.steps, quiet: true, stream: { write: () => {} } });
  try {
    await train(run, { progress, shouldStop: () => run.step === stopAfter });
  } finally {
    await closeRun(run);
  }
}

/** Opens what the configuration names, and remembers what it was asked for. */
function recordingOpener(): { asked: (ResumedWeights | undefined)[]; opener: PartsOpener } {
  const asked: (ResumedWeights | undefined)[] = [];
  return {
    asked,
    opener: (config, resumed) => {
      asked.push(resumed);
      return openParts(config, resumed);
    },
  };
}

test("a run with parts opened by the caller is the run with the same parts opened by the package", async () => {
  const config = tinyConfig();
  const { asked, opener } = recordingOpener();
  await finish(await startRun(config, { onProblem, openParts: opener }), 2);
  await finish(await resumeRun(config.out, { onNote, openParts: opener }));
  expect(asked).toEqual([
    undefined,
    { modelDirectory: join(config.out, "checkpoints", "step-2", "model"), policyVersion: 2 },
  ]);
  expect(await deterministicFiles(config.out)).toEqual(await deterministicFiles(await runTiny(tinyConfig())));
});

test("the parts given are the parts trained, and disposed of", async () => {
  const config = tinyConfig({ steps: 1 });
  let disposed = 0;
  const run = await startRun(config, {
    onProblem,
    openParts: async (asked) => {
      const parts = await openParts(asked);
      return { ...parts, dispose: () => parts.dispose().then(() => void disposed++) };
    },
  });
  const before = run.parts.model.parameters().map(({ value }) => value.slice());
  await finish(run);
  expect(disposed).toBe(1);
  expect(run.parts.model.parameters().map(({ value }) => value)).not.toEqual(before);
});

test("an opener that throws leaves no run behind, and a resumable one as it was", async () => {
  const refusal = new Error("no such model");
  const refuse: PartsOpener = () => Promise.reject(refusal);
  const config = tinyConfig({ steps: 2 });
  await expect(startRun(config, { onProblem, openParts: refuse })).rejects.toBe(refusal);
  expect(existsSync(config.out)).toBe(false);
  await runTiny(config, 1);
  await expect(resumeRun(config.out, { onNote, openParts: refuse })).rejects.toBe(refusal);
  await finish(await resumeRun(config.out, { onNote }));
});
