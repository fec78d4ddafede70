import type { Metrics } from "../report/metrics.js";
import { Progress } from "../report/progress.js";
import { checkTaskRange } from "../train/choose-tasks.js";
import { parseConfig } from "../train/config/parse-config.js";
import type { TrainConfig } from "../train/config/train-config.js";
import { evaluate } from "../train/evaluate.js";
import { expertTrajectories } from "../train/expert-trajectories.js";
import { modelDirectory } from "../train/model-directory.js";
import { openParts } from "../train/open-parts.js";

/** Flags as commander gives them. */
export interface EvalCommandOptions {
  family: string;
  split: string;
  tasks: string;
  samples: string;
  temperature: string;
  expertTasks: string;
  trajectories?: string;
  concurrency: string;
  seed: string;
  json?: boolean;
}

/** Prints success and observation nll of a model directory, a checkpoint or a run's newest checkpoint; checkpoints are verified first. */
export async function runEvalCommand(path: string, options: EvalCommandOptions): Promise<void> {
  const config = parseConfig(
    {
      algorithm: "grpo",
      out: "unused",
      steps: 1,
      seed: Number(options.seed),
      model: { path: await modelDirectory(path) },
      tasks: { family: options.family },
      concurrency: Number(options.concurrency),
      eval: {
        every: 1,
        split: options.split,
        tasks: Number(options.tasks),
        samples: Number(options.samples),
        temperature: Number(options.temperature),
        expertTasks: Number(options.expertTasks),
        expertTrajectories: options.trajectories,
      },
    },
    "eval",
  );
  const parts = await openParts(config);
  try {
    const count = Math.max(config.eval.tasks, config.eval.expertTasks);
    checkTaskRange(parts.family, { split: config.eval.split, first: 0, count }, count, "eval");
    const progress = new Progress({ steps: 1, quiet: options.json });
    const { trajectories, floor } = await expertTrajectories(config, parts);
    const metrics = await evaluate(
      { config, parts, exact: true, step: 0, expertTrajectories: trajectories },
      progress,
    );
    if (floor !== undefined) metrics["eval/observation_floor"] = floor;
    progress.end();
    process.stdout.write(options.json ? `${JSON.stringify(metrics)}\n` : describe(metrics, config));
  } finally {
    await parts.dispose();
  }
}

function describe(metrics: Metrics, config: TrainConfig): string {
  const { samples, split, tasks } = config.eval;
  const lines: string[] = [];
  const add = (label: string, value: string): number => lines.push(`${label.padEnd(18)}${value}`);
  const success = metrics["eval/success"];
  if (typeof success === "number")
    add(
      "success",
      `${(100 * success).toFixed(1)} %  (${tasks} ${split} tasks of ${config.tasks.family}, ${samples} rollouts each)`,
    );
  for (const [key, rate] of Object.entries(metrics))
    if (key.startsWith("eval/success/") && typeof rate === "number")
      add(`  ${key.slice("eval/success/".length)}`, `${(100 * rate).toFixed(1)} %`);
  const nll = metrics["eval/observation_nll"];
  if (typeof nll === "number") add("observation nll", `${nll.toFixed(4)} nats per token`);
  const floor = metrics["eval/observation_floor"];
  if (typeof floor === "number") add("its floor", `${floor.toFixed(4)} nats per token`);
  if (metrics["eval/excluded"] !== undefined)
    add("excluded", `${metrics["eval/excluded"]} rollouts, for infrastructure failures`);
  return `${lines.join("\n")}\n`;
}
