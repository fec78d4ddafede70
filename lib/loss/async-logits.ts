import { types } from "node:util";
import { ArgumentError } from "../errors/argument-error.js";
import type { NativeHostMemory } from "../native/native-async.js";
import type { LogitsBlock, LogitsDtype } from "./check-logits.js";
import { hostMemory } from "./host-memory.js";
import { HostTensor } from "./host-tensor.js";

/** `LogitsBlock` whose memory stays while a call works on it. */
export interface AsyncLogitsBlock extends Omit<LogitsBlock, "logits"> {
  /**
   * Logits, [T, ld]: a HostTensor, a view of one, or a typed array over a SharedArrayBuffer. The type and row stride of a tensor are those it was
   * made with.
   */
  logits: HostTensor<LogitsDtype> | Float32Array | Uint16Array;
}

/**
 * The block as synchronous calls take it. Its memory is to be held by `holdLogits`, once it is known to be usable.
 * @throws ArgumentError ERR_INVALID_DTYPE when `dtype` is not the tensor's, ERR_DISPOSED.
 */
export function asyncLogits(where: string, block: AsyncLogitsBlock): LogitsBlock {
  const { logits, dtype, vocabSize, ld } = block;
  if (!(logits instanceof HostTensor)) return { logits, dtype, vocabSize, ld };
  if (dtype !== undefined && dtype !== logits.dtype)
    throw new ArgumentError(
      "ERR_INVALID_DTYPE",
      `[${where}] dtype ${String(dtype)} does not fit the logits: expected "${logits.dtype}", as the tensor was made, or none.`,
    );
  return { logits: logits.data, dtype: logits.dtype, vocabSize, ld: ld ?? logits.shape.at(-1) };
}

/**
 * The addon's memory under checked logits; null for a SharedArrayBuffer.
 * @throws ArgumentError ERR_UNSUPPORTED for memory that a transfer would take from under the call.
 */
export function holdLogits(where: string, logits: Float32Array | Uint16Array): NativeHostMemory | null {
  const memory = hostMemory.get(logits.buffer);
  if (memory !== undefined) return memory;
  if (types.isSharedArrayBuffer(logits.buffer)) return null;
  throw new ArgumentError(
    "ERR_UNSUPPORTED",
    `[${where}] logits lie in memory that can be transferred away during the call: expected a HostTensor, a view of one, or a typed array over a SharedArrayBuffer, got one over an ArrayBuffer. Let the model write into a HostTensor.`,
  );
}
