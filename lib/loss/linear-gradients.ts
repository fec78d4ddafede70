import { DeviceTensor } from "../cuda/device-tensor.js";
import { checkDisjoint } from "../native/check-disjoint.js";
import { checkDeviceDisjoint } from "./check-device-disjoint.js";
import { checkDeviceTensor } from "./check-device-tensor.js";
import { checkRows } from "./check-rows.js";
import type { DeviceLinearEchoLossInput, LinearEchoLossInput } from "./linear-echo-loss-input.js";

type DeviceHidden = DeviceLinearEchoLossInput["hidden"];

/** Where the gradients of the layer go; `weight` null: it is not computed. */
export type LinearGradients =
  | { hidden: Float32Array | Uint16Array; weight: Float32Array | null }
  | { hidden: DeviceHidden; weight: DeviceTensor | null };

function onHost(where: string, input: LinearEchoLossInput, rowVectors: Float32Array[]): LinearGradients {
  const { hidden, weight, hiddenGradientOut, weightGradient } = input;
  const kind = hidden instanceof Uint16Array ? Uint16Array : Float32Array;
  const gradient =
    hiddenGradientOut === undefined
      ? new kind(hidden.length)
      : checkRows<Float32Array | Uint16Array>(
          where,
          "hiddenGradientOut",
          hiddenGradientOut,
          kind,
          hidden.length,
          "[T, D]",
        );
  const sum =
    weightGradient === false
      ? null
      : weightGradient === undefined
        ? new Float32Array(weight.length)
        : checkRows(where, "weightGradient", weightGradient, Float32Array, weight.length, "[V, D]");
  const written = [gradient, ...rowVectors, sum].filter((array) => array !== null);
  checkDisjoint(where, written, gradient === hidden ? [weight] : [weight, hidden]);
  return { hidden: gradient, weight: sum };
}

function onDevice(where: string, input: DeviceLinearEchoLossInput): LinearGradients {
  const { hidden, weight, hiddenGradientOut, weightGradient } = input;
  const { device, stream } = hidden;
  const gradient =
    hiddenGradientOut === undefined
      ? new DeviceTensor(hidden.shape, hidden.dtype, { device, stream })
      : checkDeviceTensor(where, "hiddenGradientOut", hiddenGradientOut, {
          dtypes: [hidden.dtype],
          length: hidden.length,
          shape: "[T, D]",
          beside: hidden,
        });
  const sum =
    weightGradient === false
      ? null
      : weightGradient === undefined
        ? new DeviceTensor(weight.shape, "float32", { device, stream })
        : checkDeviceTensor(where, "weightGradient", weightGradient, {
            dtypes: ["float32"],
            length: weight.length,
            shape: "[V, D]",
            beside: hidden,
          });
  const written = sum === null ? [gradient] : [gradient, sum];
  checkDeviceDisjoint(where, written, gradient === hidden ? [weight] : [weight, hidden]);
  return { hidden: gradient as DeviceHidden, weight: sum };
}

/**
 * The gradients that the caller gave memory for, or new ones, where the layer is.
 *
 * @param rowVectors other arrays that are written.
 * @throws ArgumentError as `checkRows` and `checkDeviceTensor`, ERR_OVERLAP. NativeError ERR_CUDA_OUT_OF_MEMORY.
 */
export function linearGradients(
  where: string,
  input: LinearEchoLossInput | DeviceLinearEchoLossInput,
  rowVectors: Float32Array[],
): LinearGradients {
  return input.hidden instanceof DeviceTensor
    ? onDevice(where, input as DeviceLinearEchoLossInput)
    : onHost(where, input as LinearEchoLossInput, rowVectors);
}
