import { ArgumentError } from "../errors/argument-error.js";
import { writeFileDurably } from "./write-file-durably.js";

/** A float32 tensor to be written. */
export interface NamedTensor {
  name: string;
  shape: readonly number[];
  /** Row-major, one value per element of `shape`. */
  value: Float32Array;
}

/**
 * Writes float32 tensors as one safetensors file, sorted by name, the data aligned to 8 bytes. The same tensors give the same bytes.
 * The file appears whole or not at all.
 * @throws ArgumentError ERR_INVALID_SHAPE when values and shape disagree or a name is unusable.
 */
export async function writeSafetensors(path: string, tensors: readonly NamedTensor[]): Promise<void> {
  const sorted = [...tensors].sort((a, b) => (a.name < b.name ? -1 : 1));
  const header: Record<string, unknown> = { __metadata__: { format: "pt" } };
  let offset = 0;
  for (const { name, shape, value } of sorted) {
    const expected = shape.reduce((product, size) => product * size, 1);
    if (value.length !== expected)
      throw new ArgumentError(
        "ERR_INVALID_SHAPE",
        `[writeSafetensors] tensor "${name}" has ${value.length} values: expected ${expected} for [${shape}]. Pass one value per element.`,
      );
    if (Object.hasOwn(header, name) || name === "__proto__")
      throw new ArgumentError(
        "ERR_INVALID_SHAPE",
        `[writeSafetensors] tensor name "${name}" is reserved or given twice: expected unique names. Rename it.`,
      );
    header[name] = { dtype: "F32", shape, data_offsets: [offset, offset + value.byteLength] };
    offset += value.byteLength;
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  const padded = new Uint8Array(8 + Math.ceil(json.length / 8) * 8).fill(0x20);
  new DataView(padded.buffer).setBigUint64(0, BigInt(padded.length - 8), true);
  padded.set(json, 8);
  await writeFileDurably(path, [
    padded,
    ...sorted.map(({ value }) => new Uint8Array(value.buffer, value.byteOffset, value.byteLength)),
  ]);
}
