import { ArgumentError } from "../errors/argument-error.js";

type Tensor = Float32Array | Uint16Array;

/**
 * Refuses memory that is written and not one tensor's alone. What is only read may be shared.
 *
 * @throws ArgumentError ERR_OVERLAP.
 */
export function checkDisjoint(where: string, written: readonly Tensor[], read: readonly Tensor[]): void {
  const ranges = [
    ...written.map((tensor) => ({ tensor, isWritten: true })),
    ...read.map((tensor) => ({ tensor, isWritten: false })),
  ].filter(({ tensor }) => tensor.length > 0);
  ranges.sort((a, b) => a.tensor.byteOffset - b.tensor.byteOffset);
  const ends = new Map<ArrayBufferLike, { any: number; written: number }>();
  for (const { tensor, isWritten } of ranges) {
    const end = ends.get(tensor.buffer) ?? { any: 0, written: 0 };
    if (tensor.byteOffset < (isWritten ? end.any : end.written))
      throw new ArgumentError(
        "ERR_OVERLAP",
        `[${where}] two arrays share memory, of which one is written: expected memory of their own.`,
      );
    end.any = Math.max(end.any, tensor.byteOffset + tensor.byteLength);
    if (isWritten) end.written = Math.max(end.written, tensor.byteOffset + tensor.byteLength);
    ends.set(tensor.buffer, end);
  }
}
