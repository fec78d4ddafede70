import { EchoGrpoError } from "../errors/echo-grpo-error.js";
import { recordTrajectories } from "../eval/record-trajectories.js";
import type { Trajectory } from "../rollout/trajectory.js";
import { readTrajectories } from "../rollout/trajectory-reader.js";
import type { TrainConfig } from "./config/train-config.js";
import { rolloutLimits } from "./rollout-limits.js";
import type { TrainParts } from "./train-parts.js";

/** Trajectories to measure the observation nll on, and the least any model can reach on them where the generator knows it. */
export interface ExpertTrajectories {
  trajectories: readonly Trajectory[];
  /** Nats per observation token. */
  floor?: number;
}

/**
 * Read from `eval.expertTrajectories`, or played by the family's scripted expert on held-out tasks; none when the configuration asks for none.
 * @throws EchoGrpoError ERR_EXPERT when an expert's rollout was excluded; DataError ERR_TRAJECTORY.
 */
export async function expertTrajectories(
  config: TrainConfig,
  parts: TrainParts,
): Promise<ExpertTrajectories> {
  const { every, expertTasks, expertTrajectories: path, split } = config.eval;
  if (every === 0) return { trajectories: [] };
  if (path !== undefined) {
    const trajectories: Trajectory[] = [];
    for await (const trajectory of readTrajectories(path)) trajectories.push(trajectory);
    return { trajectories };
  }
  if (expertTasks === 0) return { trajectories: [] };
  const { excluded, floor, trajectories } = await recordTrajectories({
    family: parts.family,
    split,
    tasks: expertTasks,
    agent: "expert",
    harness: parts.harness,
    sandboxes: parts.sandboxes,
    seed: config.seed,
    concurrency: config.concurrency,
    limits: rolloutLimits(config),
  });
  if (excluded.length > 0)
    throw new EchoGrpoError(
      "ERR_EXPERT",
      `[train] the scripted expert could not play ${excluded[0].taskId}: ${excluded[0].error?.message ?? excluded[0].stopReason} Mend it, or set eval.expertTasks to 0.`,
    );
  return { trajectories, floor: floor.nll };
}
