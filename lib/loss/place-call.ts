import { DeviceTensor } from "../cuda/device-tensor.js";
import { preferCuda } from "../cuda/prefer-cuda.js";
import { requireCuda } from "../cuda/require-cuda.js";
import { ArgumentError } from "../errors/argument-error.js";
import type { FloatDtype } from "../floats/float-dtype.js";
import type { NativeDeviceMemory } from "../native/native-cuda.js";
import type { ComputeDevice } from "./compute-device.js";

type HostArray = Float32Array | Uint16Array;

/** A tensor as the addon takes it. */
export function placeTensor(
  where: string,
  tensor: HostArray | DeviceTensor<FloatDtype>,
): HostArray | NativeDeviceMemory {
  return tensor instanceof DeviceTensor ? tensor.memory(where) : tensor;
}

/**
 * Whether tensors of the host are to be copied to a device for the call.
 *
 * @param tensor of which it is known where it lies.
 * @throws ArgumentError ERR_INVALID_TYPE; ERR_UNSUPPORTED for `cpu` with a tensor on a device. NativeError ERR_CUDA_UNAVAILABLE.
 */
export function placeCall(
  where: string,
  tensor: HostArray | DeviceTensor<FloatDtype>,
  device: ComputeDevice | undefined,
): { upload?: true } {
  if (device !== undefined && !["auto", "cpu", "cuda"].includes(device))
    throw new ArgumentError(
      "ERR_INVALID_TYPE",
      `[${where}] device is unusable: expected "auto", "cpu" or "cuda", got ${String(device)}.`,
    );
  if (tensor instanceof DeviceTensor) {
    if (device !== "cpu") return {};
    throw new ArgumentError(
      "ERR_UNSUPPORTED",
      `[${where}] device "cpu" does not fit: expected arrays of the host, got a DeviceTensor. Copy it first, with toHost(), or leave \`device\` away.`,
    );
  }
  if (device === "cuda") requireCuda(where);
  return device === "cuda" || (device === "auto" && preferCuda()) ? { upload: true } : {};
}
