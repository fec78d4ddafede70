import type { DeviceTensor } from "../cuda/device-tensor.js";
import { HostTensor } from "../tensors/host-tensor.js";
import { checkTensorDtype, type LogitsBlock, type LogitsDtype } from "./check-logits.js";

/** `LogitsBlock` whose memory stays while a call works on it. */
export interface AsyncLogitsBlock extends Omit<LogitsBlock, "logits"> {
  /**
   * Logits, [T, ld]: a HostTensor, a view of one, a typed array over a SharedArrayBuffer, or a DeviceTensor. The type and row stride of a tensor are
   * those it was made with.
   */
  logits: HostTensor<LogitsDtype> | DeviceTensor<LogitsDtype> | Float32Array | Uint16Array;
}

/**
 * The block as synchronous calls take it. Memory of the host is to be held by `holdMemory`, once it is known to be usable.
 * @throws ArgumentError ERR_INVALID_DTYPE when `dtype` is not the tensor's, ERR_DISPOSED.
 */
export function asyncLogits(where: string, block: AsyncLogitsBlock): LogitsBlock {
  const { logits, dtype, vocabSize, ld, device } = block;
  if (!(logits instanceof HostTensor)) return { logits, dtype, vocabSize, ld, device };
  const own = checkTensorDtype(where, dtype, logits);
  return { logits: logits.data, dtype: own, vocabSize, ld: ld ?? logits.shape.at(-1), device };
}
