import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { CheckpointError } from "../errors/checkpoint-error.js";
import { ConfigError } from "../errors/config-error.js";
import { EchoGrpoError } from "../errors/echo-grpo-error.js";
import { WriteError } from "../errors/write-error.js";
import { JsonlFile } from "../report/jsonl-file.js";
import type { Metrics } from "../report/metrics.js";
import { metricsLine } from "../report/metrics-line.js";
import type { Trajectory } from "../rollout/trajectory.js";
import { TrajectoryWriter } from "../rollout/trajectory-writer.js";
import { parseConfig } from "./config/parse-config.js";
import type { TrainConfig } from "./config/train-config.js";
import { crashesAt, crashPoint } from "./crash-point.js";
import { lockRun } from "./lock-run.js";

/** A run on disk: config.json, metrics.jsonl, timings.jsonl, trajectories/step-N.jsonl, checkpoints/step-N/. */
export class RunDirectory {
  readonly path: string;
  private readonly metrics: JsonlFile;
  private readonly timings: JsonlFile;
  private readonly unlock: () => Promise<void>;

  private constructor(path: string, metrics: JsonlFile, timings: JsonlFile, unlock: () => Promise<void>) {
    this.path = path;
    this.metrics = metrics;
    this.timings = timings;
    this.unlock = unlock;
  }

  /** @throws ConfigError ERR_RUN_EXISTS when a new run's directory has anything in it, ERR_CONFIG when it is none. */
  static async refuseExisting(path: string): Promise<void> {
    const present = await readdir(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return [];
      throw new ConfigError(
        "ERR_CONFIG",
        `[run] "out" is unusable: expected no or an empty directory, got ${error.message}. Name another.`,
      );
    });
    if (present.length > 0)
      throw new ConfigError(
        "ERR_RUN_EXISTS",
        `[run] ${path} exists: expected no or an empty directory, got ${present.length} entries. Name another directory, or continue that run with --resume ${path}.`,
      );
  }

  /**
   * Makes the directory of a new run.
   * @param record what config.json holds.
   * @throws ConfigError ERR_RUN_EXISTS when the directory has anything in it; WriteError ERR_WRITE.
   */
  static async create(
    path: string,
    record: { config: TrainConfig; [fact: string]: unknown },
  ): Promise<RunDirectory> {
    await RunDirectory.refuseExisting(path);
    await writing(path, () => mkdir(path, { recursive: true }));
    const unlock = await lockRun(path);
    await writing(path, async () => {
      await mkdir(join(path, "trajectories"));
      await mkdir(join(path, "checkpoints"));
      await writeFile(join(path, "config.json"), `${JSON.stringify(record, null, 2)}\n`);
    });
    return RunDirectory.opened(path, unlock);
  }

  /** Locks the directory of an earlier run and lets `restore` mend its files before they are opened for appending. */
  static async reopen<T>(
    path: string,
    restore: () => Promise<T>,
  ): Promise<{ directory: RunDirectory; restored: T }> {
    const unlock = await lockRun(path);
    try {
      const restored = await restore();
      return { directory: await RunDirectory.opened(path, unlock), restored };
    } catch (error) {
      await unlock();
      throw error;
    }
  }

  /** @throws CheckpointError ERR_CHECKPOINT_MISSING when the directory holds no run; ConfigError. */
  static async readConfig(path: string): Promise<TrainConfig> {
    const file = join(path, "config.json");
    let config: unknown;
    try {
      config = (JSON.parse(await readFile(file, "utf8")) as { config?: unknown }).config;
      if (config === undefined) throw new Error("a file without the key config");
    } catch (cause) {
      throw new CheckpointError(
        "ERR_CHECKPOINT_MISSING",
        `[run] ${path} holds no run: expected ${file}, got ${(cause as Error).message}. Check the path given to --resume.`,
        { cause },
      );
    }
    return parseConfig(config, file);
  }

  get checkpoints(): string {
    return join(this.path, "checkpoints");
  }

  /** Writes what a step did: trajectories first, then metrics and timings. @throws WriteError ERR_WRITE. */
  async record(
    step: number,
    values: { metrics: Metrics; timings: Metrics; trajectories?: readonly Trajectory[] },
  ): Promise<void> {
    if (values.trajectories) await this.writeTrajectories(step, values.trajectories);
    crashPoint("trajectories-written", step);
    const line = metricsLine(step, values.metrics);
    if (crashesAt("metrics-torn", step)) await this.metrics.appendText(line.slice(0, line.length / 2));
    crashPoint("metrics-torn", step);
    await this.metrics.appendText(line);
    crashPoint("metrics-written", step);
    await this.timings.appendText(metricsLine(step, values.timings));
  }

  /** Waits until the append-only files are on the disk; returns their lengths in bytes. */
  async sync(): Promise<Record<string, number>> {
    return { "metrics.jsonl": await this.metrics.sync(), "timings.jsonl": await this.timings.sync() };
  }

  async close(): Promise<void> {
    await this.metrics.close();
    await this.timings.close();
    await this.unlock();
  }

  private static async opened(path: string, unlock: () => Promise<void>): Promise<RunDirectory> {
    const metrics = await JsonlFile.open(join(path, "metrics.jsonl"));
    const timings = await JsonlFile.open(join(path, "timings.jsonl"));
    return new RunDirectory(path, metrics, timings, unlock);
  }

  private async writeTrajectories(step: number, trajectories: readonly Trajectory[]): Promise<void> {
    const path = join(this.path, "trajectories", `step-${step}.jsonl`);
    await writing(path, async () => {
      // What a killed run left of this step is written anew, never appended to.
      await rm(path, { force: true });
      const writer = await TrajectoryWriter.open(path, { existing: "refuse" });
      try {
        for (const trajectory of trajectories) await writer.write(trajectory);
      } finally {
        await writer.close();
      }
    });
  }
}

async function writing<T>(path: string, job: () => Promise<T>): Promise<T> {
  try {
    return await job();
  } catch (cause) {
    if (cause instanceof EchoGrpoError) throw cause;
    throw new WriteError(
      "ERR_WRITE",
      `[run] cannot write ${path}: ${(cause as Error).message}. Make room or mend the permissions, then resume the run.`,
      { cause },
    );
  }
}
