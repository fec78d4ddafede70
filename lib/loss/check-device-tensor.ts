import { DeviceTensor } from "../cuda/device-tensor.js";
import { ArgumentError } from "../errors/argument-error.js";
import type { FloatDtype } from "../floats/float-dtype.js";

/**
 * A tensor beside another of the same call.
 * @throws ArgumentError ERR_UNSUPPORTED when it is not on a GPU or not of that device and stream, ERR_INVALID_DTYPE, ERR_INVALID_SHAPE (length),
 *   ERR_DISPOSED.
 */
export function checkDeviceTensor<Dtype extends FloatDtype>(
  where: string,
  name: string,
  value: unknown,
  expected: { dtypes: readonly Dtype[]; length?: number; shape: string; beside: DeviceTensor<FloatDtype> },
): DeviceTensor<Dtype> {
  const { dtypes, length, shape, beside } = expected;
  if (!(value instanceof DeviceTensor))
    throw new ArgumentError(
      "ERR_UNSUPPORTED",
      `[${where}] ${name} is not where the others are: expected a DeviceTensor ${shape}, as hidden, got ${value === null ? "null" : typeof value}.`,
    );
  const tensor = value as DeviceTensor<Dtype>;
  tensor.memory(where);
  if (!dtypes.includes(tensor.dtype))
    throw new ArgumentError(
      "ERR_INVALID_DTYPE",
      `[${where}] ${name} has the wrong element type: expected ${dtypes.join(" or ")}, got ${tensor.dtype}.`,
    );
  if (length !== undefined && tensor.length !== length)
    throw new ArgumentError(
      "ERR_INVALID_SHAPE",
      `[${where}] ${name} has the wrong length: expected ${length} ${shape}, got ${tensor.length}.`,
    );
  if (tensor.device !== beside.device || tensor.stream !== beside.stream)
    throw new ArgumentError(
      "ERR_UNSUPPORTED",
      `[${where}] ${name} is not where the others are: expected a tensor of device ${beside.device} and the stream of hidden, got one of device ${tensor.device}${tensor.device === beside.device ? " and another stream" : ""}.`,
    );
  return tensor;
}
