import { type FileHandle, open } from "node:fs/promises";
import { DataError } from "../errors/data-error.js";
import { bfloat16ToFloat32 } from "../floats/bfloat16-to-float32.js";
import { float16ToFloat32 } from "../floats/float16-to-float32.js";
import { type SafetensorsEntry, SafetensorsHeader } from "./safetensors-header.js";

/** Largest single read: one call takes at most 2^31 - 1 bytes. */
const MAX_READ_BYTES = 2 ** 30;

/** 16-bit tensors are widened in pieces of this many values, so that reading needs no second copy of a tensor. */
const HALF_CHUNK = 2 ** 20;

/** An open safetensors file whose header was checked; tensors are read one by one, as float32. */
export class SafetensorsReader {
  readonly path: string;
  readonly entries: ReadonlyMap<string, SafetensorsEntry>;
  readonly metadata: Readonly<Record<string, string>>;
  private readonly file: FileHandle;
  private readonly dataStart: number;

  private constructor(path: string, file: FileHandle, header: SafetensorsHeader, dataStart: number) {
    this.path = path;
    this.file = file;
    this.dataStart = dataStart;
    this.entries = new Map(header.entries.map((entry) => [entry.name, entry]));
    this.metadata = header.metadata;
  }

  /** @throws DataError ERR_SAFETENSORS when the file cannot be opened or its header is wrong. */
  static async open(path: string): Promise<SafetensorsReader> {
    let file: FileHandle;
    try {
      file = await open(path, "r");
    } catch (cause) {
      throw new DataError(
        "ERR_SAFETENSORS",
        `[safetensors] ${path} cannot be opened: ${(cause as Error).message}. Check the path.`,
        { cause },
      );
    }
    try {
      const { size } = await file.stat();
      const prefix = new Uint8Array(Math.min(8, size));
      await readFully(file, prefix, 0, path);
      const length = SafetensorsHeader.byteLength(prefix, size, path);
      const json = new Uint8Array(length);
      await readFully(file, json, 8, path);
      const header = SafetensorsHeader.parse(json, size - 8 - length, path);
      return new SafetensorsReader(path, file, header, 8 + length);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /**
   * The entry of a tensor that can be read as float32 of this shape.
   * @throws DataError ERR_SAFETENSORS when it is absent, of another shape, or neither F32, F16 nor BF16.
   */
  require(name: string, shape: readonly number[]): SafetensorsEntry {
    const entry = this.entries.get(name);
    const fail = (problem: string, advice: string): never => {
      throw new DataError(
        "ERR_SAFETENSORS",
        `[safetensors] ${this.path} tensor "${name}" ${problem}. ${advice}`,
      );
    };
    if (!entry) return fail("is missing", "The file belongs to another model.");
    if (entry.shape.join() !== shape.join())
      return fail(`has shape [${entry.shape}]: expected [${shape}]`, "The file belongs to another model.");
    if (entry.dtype !== "F32" && entry.dtype !== "F16" && entry.dtype !== "BF16")
      return fail(
        `has dtype ${entry.dtype}: expected F32, F16 or BF16`,
        "Convert the weights to one of these.",
      );
    return entry;
  }

  /**
   * Reads a tensor into `into`, widening F16 and BF16.
   * @param shape expected shape; `into` holds that many values.
   * @throws DataError ERR_SAFETENSORS as `require`, or when the file ends early.
   */
  async read(name: string, shape: readonly number[], into: Float32Array): Promise<void> {
    const entry = this.require(name, shape);
    const start = this.dataStart + entry.begin;
    if (entry.dtype === "F32") {
      await readFully(
        this.file,
        new Uint8Array(into.buffer, into.byteOffset, into.byteLength),
        start,
        this.path,
      );
      return;
    }
    const widen = entry.dtype === "F16" ? float16ToFloat32 : bfloat16ToFloat32;
    const bits = new Uint16Array(Math.min(into.length, HALF_CHUNK));
    for (let i = 0; i < into.length; i += HALF_CHUNK) {
      const piece = bits.subarray(0, Math.min(HALF_CHUNK, into.length - i));
      await readFully(this.file, new Uint8Array(piece.buffer, 0, piece.byteLength), start + 2 * i, this.path);
      widen(piece, into.subarray(i, i + piece.length));
    }
  }

  async close(): Promise<void> {
    await this.file.close();
  }
}

async function readFully(file: FileHandle, into: Uint8Array, position: number, path: string): Promise<void> {
  let done = 0;
  while (done < into.length) {
    const length = Math.min(into.length - done, MAX_READ_BYTES);
    const { bytesRead } = await file.read(into, done, length, position + done);
    if (bytesRead === 0)
      throw new DataError(
        "ERR_SAFETENSORS",
        `[safetensors] ${path} ended early: expected ${into.length} bytes at ${position}, got ${done}. It was truncated while being read.`,
      );
    done += bytesRead;
  }
}
