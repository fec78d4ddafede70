import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { loadNative } from "../native/load.js";
import type { ArmRecord } from "../report/arm-record.js";
import { compareArms } from "../report/compare-arms.js";
import { comparisonTable } from "../report/comparison-table.js";
import { Progress } from "../report/progress.js";
import { closeRun } from "../train/close-run.js";
import { startRun } from "../train/start-run.js";
import { StopRequest } from "../train/stop-request.js";
import { train } from "../train/trainer.js";
import { quickstartConfig } from "./quickstart-config.js";
import { wholeNumber } from "./whole-number.js";

export interface QuickstartOptions {
  out?: string;
  seed: string;
  steps: string;
  json?: boolean;
}

/** @returns the exit status: 0 finished, 130 or 143 stopped. */
export async function runQuickstartCommand(options: QuickstartOptions): Promise<number> {
  const seed = wholeNumber("quickstart", "--seed", options.seed, 0);
  const steps = wholeNumber("quickstart", "--steps", options.steps, 1);
  const out = options.out ?? freeDirectory();
  const note = (message: string): void => {
    process.stderr.write(`${message}\n`);
  };
  const native = loadNative();
  note(
    `TinyTerm: two arms of ${steps} steps, 16 tasks x 16 rollouts each, in a real bash. Threads: ${native.threads()}, kernels: ${native.isa()}.`,
  );
  const stop = new StopRequest((signal) =>
    note(`${signal}: finishing the step and saving a checkpoint. Once more stops at once.`),
  );
  stop.listen();
  const arms: ArmRecord[] = [];
  let floor: number | undefined;
  let tasks = 0;
  try {
    for (const algorithm of ["grpo", "echo"] as const) {
      const config = quickstartConfig(algorithm, { out: join(out, algorithm), seed, steps });
      note(`\n${algorithm}${algorithm === "echo" ? ` (lambda ${config.lambda})` : ""} -> ${config.out}`);
      const run = await startRun(config, { onProblem: note });
      const progress = new Progress({ steps: run.steps });
      const arm: ArmRecord = { steps: [] };
      try {
        const outcome = await train(run, {
          progress,
          shouldStop: () => stop.signal !== undefined,
          onStep: (step, metrics, timings) => arm.steps.push({ step, metrics, timings }),
        });
        progress.end();
        if (outcome === "stopped") {
          note(`stopped; continue this arm with: echo-grpo train --resume ${config.out}`);
          return StopRequest.exitCode(stop.signal ?? "SIGINT");
        }
      } finally {
        progress.end();
        await closeRun(run);
      }
      arms.push(arm);
      floor = run.observationFloor;
      tasks = config.eval.tasks;
    }
  } finally {
    stop.unlisten();
  }
  const comparison = { seed, ...compareArms(arms[0], arms[1], floor) };
  await writeFile(join(out, "comparison.json"), `${JSON.stringify(comparison, null, 2)}\n`);
  process.stdout.write(
    options.json ? `${JSON.stringify(comparison)}\n` : `\n${comparisonTable(comparison, tasks)}\n`,
  );
  note(`\nboth runs, every rollout and this table: ${out}`);
  return 0;
}

function freeDirectory(): string {
  for (let n = 1; ; n++) {
    const path = join("runs", `quickstart-${n}`);
    if (!existsSync(path)) return path;
  }
}
