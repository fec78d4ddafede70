import { types } from "node:util";
import { ArgumentError } from "../errors/argument-error.js";
import type { NativeHostMemory } from "../native/native-host-memory.js";
import { hostMemory } from "./host-memory.js";

/**
 * The addon's memory under an array that a call is to work on later; null for a SharedArrayBuffer.
 * @throws ArgumentError ERR_UNSUPPORTED for memory that a transfer would take from under the call.
 */
export function holdMemory(
  where: string,
  name: string,
  array: Float32Array | Uint16Array,
): NativeHostMemory | null {
  const memory = hostMemory.get(array.buffer);
  if (memory !== undefined) return memory;
  if (types.isSharedArrayBuffer(array.buffer)) return null;
  throw new ArgumentError(
    "ERR_UNSUPPORTED",
    `[${where}] ${name} lie in memory that can be transferred away during the call: expected a HostTensor, a view of one, or a typed array over a SharedArrayBuffer, got one over an ArrayBuffer. Let the model write into a HostTensor.`,
  );
}
