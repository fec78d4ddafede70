import { type FileHandle, open } from "node:fs/promises";
import { DataError } from "../errors/data-error.js";
import type { Trajectory } from "./trajectory.js";
import { trajectorySchema } from "./trajectory-schema.js";

/** Appends trajectories to a JSONL file, one per line. What is in the file already is never touched. */
export class TrajectoryWriter {
  private readonly path: string;
  private readonly file: FileHandle;
  private bytes: number;
  private tail: Promise<void> = Promise.resolve();

  private constructor(path: string, file: FileHandle, bytes: number) {
    this.path = path;
    this.file = file;
    this.bytes = bytes;
  }

  /**
   * Opens `path` for appending, making it when it is not there.
   * @throws DataError ERR_TRAJECTORY when the file exists and `existing` is `refuse`, or when it ends in a torn line.
   */
  static async open(
    path: string,
    options: { existing?: "append" | "refuse" } = {},
  ): Promise<TrajectoryWriter> {
    const refuse = options.existing === "refuse";
    let file: FileHandle;
    try {
      file = await open(path, refuse ? "ax+" : "a+");
    } catch (error) {
      if (!refuse || (error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      throw new DataError(
        "ERR_TRAJECTORY",
        `[${path}] the file exists: expected a new one. Choose another path, or append to it.`,
      );
    }
    try {
      const { size } = await file.stat();
      const last = new Uint8Array(1);
      if (size > 0) await file.read(last, 0, 1, size - 1);
      if (size > 0 && last[0] !== 0x0a)
        throw new DataError(
          "ERR_TRAJECTORY",
          `[${path}] the file of ${size} bytes ends in a torn line: expected a newline at its end. Cut the last line off before appending.`,
        );
      return new TrajectoryWriter(path, file, size);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** Bytes in the file once everything written so far is in it. */
  get length(): number {
    return this.bytes;
  }

  /**
   * Lines are written in the order of the calls.
   * @throws DataError ERR_TRAJECTORY when a reader would refuse the trajectory; nothing is written then.
   */
  async write(trajectory: Trajectory): Promise<void> {
    const line = Buffer.from(`${this.line(trajectory)}\n`);
    const write = this.tail.then(() => this.file.appendFile(line));
    this.tail = write.catch(() => {});
    await write;
    this.bytes += line.length;
  }

  /** Waits for what was written to reach the disk, then closes. */
  async close(): Promise<void> {
    await this.tail;
    try {
      await this.file.sync();
    } finally {
      await this.file.close();
    }
  }

  private line(trajectory: Trajectory): string {
    const parsed = trajectorySchema.safeParse(trajectory);
    if (!parsed.success) {
      const issue = parsed.error.issues[0];
      throw new DataError(
        "ERR_TRAJECTORY",
        `[${this.path}:${issue.path.join(".")}] cannot write the trajectory of ${trajectory.taskId}: ${issue.message}. Mend what made it.`,
      );
    }
    // JSON.stringify prints the shortest digits that read back to the same double, but turns -0 into 0.
    const { logprobs, ...rest } = parsed.data;
    const digits = logprobs.map((value) => (Object.is(value, -0) ? "-0" : String(value)));
    return `${JSON.stringify(rest).slice(0, -1)},"logprobs":[${digits.join(",")}]}`;
  }
}
