import { type FileHandle, open } from "node:fs/promises";
import { WriteError } from "../errors/write-error.js";

/** An append-only file of JSON objects, one per line. */
export class JsonlFile {
  readonly path: string;
  private readonly handle: FileHandle;

  private constructor(path: string, handle: FileHandle) {
    this.path = path;
    this.handle = handle;
  }

  /** Opens for appending; creates the file when it does not exist. @throws WriteError ERR_WRITE. */
  static async open(path: string): Promise<JsonlFile> {
    const handle = await open(path, "a").catch((cause) => {
      throw JsonlFile.failure(path, cause);
    });
    return new JsonlFile(path, handle);
  }

  /** Appends text as it is (a line should end in a newline). @throws WriteError ERR_WRITE naming the file. */
  async appendText(text: string): Promise<void> {
    try {
      await this.handle.appendFile(text);
    } catch (cause) {
      throw JsonlFile.failure(this.path, cause);
    }
  }

  async append(value: object): Promise<void> {
    await this.appendText(`${JSON.stringify(value)}\n`);
  }

  /** Waits until everything is on the disk; returns the file's length in bytes. @throws WriteError ERR_WRITE. */
  async sync(): Promise<number> {
    try {
      await this.handle.sync();
      return (await this.handle.stat()).size;
    } catch (cause) {
      throw JsonlFile.failure(this.path, cause);
    }
  }

  async close(): Promise<void> {
    await this.handle.close();
  }

  private static failure(path: string, cause: unknown): WriteError {
    return new WriteError(
      "ERR_WRITE",
      `[report] cannot write ${path}: ${(cause as Error).message}. Make room or mend the permissions, then resume the run.`,
      { cause },
    );
  }
}
