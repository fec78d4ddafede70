import { DataError } from "../errors/data-error.js";
import { findDuplicateKey } from "./find-duplicate-key.js";

/** One tensor of a safetensors file. */
export interface SafetensorsEntry {
  name: string;
  /** As written: F32, F16, BF16, I64, ... */
  dtype: string;
  shape: number[];
  /** Byte offsets within the data section: [begin, end). */
  begin: number;
  end: number;
}

/** Longest header that is read, as in the reference implementation. */
const MAX_HEADER_BYTES = 100_000_000;

const DTYPE_BYTES: ReadonlyMap<string, number> = new Map([
  ["BOOL", 1],
  ["U8", 1],
  ["I8", 1],
  ["F8_E4M3", 1],
  ["F8_E5M2", 1],
  ["I16", 2],
  ["U16", 2],
  ["F16", 2],
  ["BF16", 2],
  ["I32", 4],
  ["U32", 4],
  ["F32", 4],
  ["I64", 8],
  ["U64", 8],
  ["F64", 8],
]);

/**
 * The header of a safetensors file (u64 little-endian length, JSON, data), checked: nothing it says can make a reader leave the data
 * section, and every byte of that section belongs to exactly one tensor.
 */
export class SafetensorsHeader {
  /** In file order. */
  readonly entries: readonly SafetensorsEntry[];
  readonly metadata: Readonly<Record<string, string>>;

  private constructor(entries: SafetensorsEntry[], metadata: Record<string, string>) {
    this.entries = entries;
    this.metadata = metadata;
  }

  /**
   * Length of the JSON header, from the first 8 bytes of a file.
   * @throws DataError ERR_SAFETENSORS when the file is too short or the length is impossible.
   */
  static byteLength(prefix: Uint8Array, fileBytes: number, path: string): number {
    if (prefix.length < 8)
      fail(path, `is too short: expected at least 8 bytes, got ${prefix.length}`, "It is truncated.");
    const length = new DataView(prefix.buffer, prefix.byteOffset).getBigUint64(0, true);
    if (length > MAX_HEADER_BYTES)
      fail(path, `has a header of ${length} bytes: expected at most ${MAX_HEADER_BYTES}`, NOT_SAFETENSORS);
    if (Number(length) > fileBytes - 8)
      fail(path, `has a header of ${length} bytes: expected at most ${fileBytes - 8}`, "It is truncated.");
    return Number(length);
  }

  /**
   * @param json the header's bytes. @param dataBytes size of the data section.
   * @throws DataError ERR_SAFETENSORS naming the file and the tensor.
   */
  static parse(json: Uint8Array, dataBytes: number, path: string): SafetensorsHeader {
    const root = parseJson(json, path);
    let metadata: Record<string, string> = {};
    const entries: SafetensorsEntry[] = [];
    for (const [name, value] of Object.entries(root))
      if (name === "__metadata__") metadata = checkMetadata(value, path);
      else entries.push(checkEntry(name, value, path));
    // Empty tensors share their offset with a neighbour: they come first.
    entries.sort((a, b) => a.begin - b.begin || a.end - b.end);
    let expected = 0;
    for (const entry of entries) {
      if (entry.begin !== expected)
        fail(
          path,
          `tensor "${entry.name}" begins at byte ${entry.begin}: expected ${expected}`,
          "Tensors must follow each other without gap or overlap.",
        );
      expected = entry.end;
    }
    if (expected !== dataBytes)
      fail(path, `describes ${expected} bytes of data: expected ${dataBytes}`, "It is truncated or corrupt.");
    return new SafetensorsHeader(entries, metadata);
  }
}

const NOT_SAFETENSORS = "This is not a safetensors file.";

function fail(path: string, problem: string, advice: string): never {
  throw new DataError("ERR_SAFETENSORS", `[safetensors] ${path} ${problem}. ${advice}`);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function parseJson(bytes: Uint8Array, path: string): Record<string, unknown> {
  let root: unknown;
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    root = JSON.parse(text);
  } catch (cause) {
    throw new DataError(
      "ERR_SAFETENSORS",
      `[safetensors] ${path} has a header that is not JSON: ${(cause as Error).message}. ${NOT_SAFETENSORS}`,
      { cause },
    );
  }
  // The format wants "{" as the very first byte; JSON alone would allow white space.
  if (!isObject(root) || bytes[0] !== 0x7b)
    return fail(path, "has a header that is not a JSON object", NOT_SAFETENSORS);
  const duplicate = findDuplicateKey(text);
  if (duplicate !== undefined)
    fail(path, `names "${duplicate}" twice in its header`, "Write the file again; it is ambiguous.");
  return root;
}

function checkMetadata(value: unknown, path: string): Record<string, string> {
  if (!isObject(value) || Object.values(value).some((text) => typeof text !== "string"))
    fail(path, "has a __metadata__ that is not a map of strings", "Write the file again.");
  return value as Record<string, string>;
}

function checkEntry(name: string, value: unknown, path: string): SafetensorsEntry {
  const bad = (problem: string): never => fail(path, `tensor "${name}" ${problem}`, "The header is corrupt.");
  if (!isObject(value)) return bad("is not an object");
  const { dtype, shape, data_offsets: offsets } = value;
  const size = typeof dtype === "string" ? DTYPE_BYTES.get(dtype) : undefined;
  if (size === undefined)
    return bad(`has dtype ${JSON.stringify(dtype)}: expected one of ${[...DTYPE_BYTES.keys()].join(", ")}`);
  if (!isSizes(shape)) return bad("has a shape that is not a list of sizes");
  if (!isSizes(offsets) || offsets.length !== 2 || offsets[1] < offsets[0])
    return bad("has data_offsets that are not [begin, end]");
  let bytes = size;
  for (const dimension of shape) {
    bytes *= dimension;
    if (!Number.isSafeInteger(bytes)) return bad(`has a shape too large to address: [${shape}]`);
  }
  const [begin, end] = offsets;
  if (end - begin !== bytes)
    return bad(`has ${end - begin} bytes of data: expected ${bytes} for ${dtype} [${shape}]`);
  return { name, dtype: dtype as string, shape, begin, end };
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}
