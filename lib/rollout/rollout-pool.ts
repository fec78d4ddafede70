import { setMaxListeners } from "node:events";
import { EchoGrpoError } from "../errors/echo-grpo-error.js";
import type { Task } from "../tasks/task.js";
import { resolveLimits } from "./resolve-limits.js";
import type { RolloutLimits } from "./rollout-limits.js";
import { type GroupRequest, runGroup } from "./run-group.js";
import { Slots } from "./slots.js";
import type { Trajectory } from "./trajectory.js";

const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Groups of rollouts over several tasks. */
export interface RolloutBatch
  extends Omit<GroupRequest, "task" | "taskIndex" | "slots" | "onTrajectory" | "signal"> {
  tasks: readonly Task[];
  /** Ends every rollout as `cancelled`. */
  signal?: AbortSignal;
  /**
   * Wall clock of the batch; what has not ended by then is `cancelled` with the error `ERR_BATCH_DEADLINE`. Default: what the limits
   * allow every wave of rollouts, and one wave more.
   */
  deadlineMs?: number;
  /** Called as each rollout ends, in the order in which they do. */
  onProgress?(progress: RolloutProgress): void;
}

/** How far a batch has come. */
export interface RolloutProgress {
  done: number;
  total: number;
  /** The one that has just ended. */
  trajectory: Trajectory;
}

/** Runs many rollouts at once. Batches run on one pool share its slots. */
export class RolloutPool {
  private readonly slots: Slots;

  /** @throws ArgumentError ERR_OUT_OF_RANGE when `concurrency` is not a positive integer. */
  constructor(options: { concurrency: number }) {
    this.slots = new Slots(options.concurrency);
  }

  /**
   * Plays every task of the batch `groupSize` times. Result [tasks][groupSize], ordered by (task, rollout), whatever finished first.
   * A rollout that fails is a trajectory like the others; see `runRollout`.
   *
   * @throws ArgumentError ERR_OUT_OF_RANGE when `limits` are unusable; whatever a callback throws, once all rollouts have ended.
   */
  async run(batch: RolloutBatch): Promise<Trajectory[][]> {
    const total = batch.tasks.length * batch.groupSize;
    const deadlineMs = batch.deadlineMs ?? this.defaultDeadlineMs(total, resolveLimits(batch.limits));
    const controller = new AbortController();
    // Every rollout listens, and takes its listener back: not the leak that Node warns of from the eleventh on.
    setMaxListeners(0, controller.signal);
    const stop = (): void => controller.abort(batch.signal?.reason);
    const timer = setTimeout(() => {
      const message = `[RolloutPool] the batch of ${total} rollouts did not end in time: expected within ${deadlineMs} ms. Raise deadlineMs or look at the rollouts it cancelled.`;
      controller.abort(new EchoGrpoError("ERR_BATCH_DEADLINE", message));
    }, deadlineMs);
    if (batch.signal?.aborted) stop();
    else batch.signal?.addEventListener("abort", stop, { once: true });

    let done = 0;
    try {
      const groups = batch.tasks.map((task, taskIndex) =>
        runGroup({
          ...batch,
          task,
          taskIndex,
          signal: controller.signal,
          slots: this.slots,
          onTrajectory: (trajectory) => batch.onProgress?.({ done: ++done, total, trajectory }),
          onCleanupFailure: batch.onCleanupFailure ?? ((error) => process.emitWarning(error)),
        }),
      );
      const settled = await Promise.allSettled(groups);
      return settled.map((outcome) => {
        if (outcome.status === "rejected") throw outcome.reason;
        return outcome.value;
      });
    } finally {
      clearTimeout(timer);
      batch.signal?.removeEventListener("abort", stop);
    }
  }

  private defaultDeadlineMs(total: number, limits: Required<RolloutLimits>): number {
    const { setupTimeoutMs, timeoutMs, verifyTimeoutMs, disposeTimeoutMs } = limits;
    const waves = Math.ceil(total / this.slots.count);
    return Math.min(
      (setupTimeoutMs + timeoutMs + verifyTimeoutMs + disposeTimeoutMs) * (waves + 1),
      LONGEST_TIMER_MS,
    );
  }
}
