import type { DeviceTensor } from "../cuda/device-tensor.js";
import { ArgumentError } from "../errors/argument-error.js";
import type { FloatDtype } from "../floats/float-dtype.js";
import { dtypeBytes } from "../tensors/dtype-bytes.js";

type Tensor = DeviceTensor<FloatDtype>;

/** `checkDisjoint` for memory of a device. @throws ArgumentError ERR_OVERLAP, ERR_DISPOSED. */
export function checkDeviceDisjoint(
  where: string,
  written: readonly Tensor[],
  read: readonly Tensor[],
): void {
  const end = (tensor: Tensor): bigint =>
    tensor.pointer + BigInt(tensor.length * dtypeBytes(where, tensor.dtype));
  for (const [i, one] of written.entries())
    for (const other of [...written.slice(i + 1), ...read])
      if (one.pointer < end(other) && other.pointer < end(one))
        throw new ArgumentError(
          "ERR_OVERLAP",
          `[${where}] two tensors share memory, of which one is written: expected memory of their own.`,
        );
}
