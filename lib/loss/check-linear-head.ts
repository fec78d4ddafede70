import { DeviceTensor } from "../cuda/device-tensor.js";
import { ArgumentError } from "../errors/argument-error.js";
import type { NativeHead } from "../native/native-linear-loss.js";
import { checkDeviceTensor } from "./check-device-tensor.js";
import { checkRows } from "./check-rows.js";
import type { DeviceLinearHead } from "./device-linear-head.js";
import type { LinearHead } from "./linear-head.js";
import { placeCall, placeTensor } from "./place-call.js";

const DEFAULT_LOGITS_BYTES = 64 * 2 ** 20;
/** Every chunk reads the weights twice and the weight gradient once: on a device the products are so fast that few chunks pay. */
const DEFAULT_DEVICE_LOGITS_BYTES = 2 ** 30;
const LARGEST_WIDTH = 2 ** 24;
const LARGEST_VOCABULARY = 2 ** 31 - 1;
const DTYPES = ["float32", "bfloat16"] as const;

type Tensor = LinearHead["hidden"] | DeviceLinearHead["hidden"];

const dtypeOf = (tensor: Tensor): "float32" | "bfloat16" => {
  if (tensor instanceof DeviceTensor) return tensor.dtype;
  return tensor instanceof Uint16Array ? "bfloat16" : "float32";
};

function checkTensors(
  where: string,
  { hidden, weight }: LinearHead | DeviceLinearHead,
  hiddenLength: number,
): void {
  if (hidden instanceof DeviceTensor) {
    checkDeviceTensor(where, "hidden", hidden, {
      dtypes: DTYPES,
      length: hiddenLength,
      shape: "[T, D]",
      beside: hidden,
    });
    checkDeviceTensor(where, "weight", weight, { dtypes: DTYPES, shape: "[V, D]", beside: hidden });
    return;
  }
  if ((weight as unknown) instanceof DeviceTensor)
    throw new ArgumentError(
      "ERR_UNSUPPORTED",
      `[${where}] weight is not where the others are: expected an array of the host, as hidden, got a DeviceTensor.`,
    );
  const kind = (values: unknown) => (values instanceof Uint16Array ? Uint16Array : Float32Array);
  checkRows<Float32Array | Uint16Array>(where, "hidden", hidden, kind(hidden), hiddenLength, "[T, D]");
  checkRows<Float32Array | Uint16Array>(where, "weight", weight, kind(weight), undefined, "[V, D]");
}

/**
 * The layer as the kernels take it, for T rows.
 * @throws ArgumentError as `checkRows` and `checkDeviceTensor`; ERR_OUT_OF_RANGE for hiddenSize and maxLogitsBytes; ERR_INVALID_SHAPE when `weight` has no
 *   whole rows; as `placeCall`. NativeError ERR_CUDA_UNAVAILABLE.
 */
export function checkLinearHead(
  where: string,
  head: LinearHead | DeviceLinearHead,
  rows: number,
): NativeHead {
  const { hidden, weight, hiddenSize } = head;
  const usual = hidden instanceof DeviceTensor ? DEFAULT_DEVICE_LOGITS_BYTES : DEFAULT_LOGITS_BYTES;
  const maxLogitsBytes = head.maxLogitsBytes ?? usual;
  const outOfRange = (name: string, expected: string, value: unknown): ArgumentError =>
    new ArgumentError(
      typeof value === "number" ? "ERR_OUT_OF_RANGE" : "ERR_INVALID_TYPE",
      `[${where}] ${name} is unusable: expected ${expected}, got ${String(value)}.`,
    );
  if (!Number.isInteger(hiddenSize) || hiddenSize < 1 || hiddenSize > LARGEST_WIDTH)
    throw outOfRange("hiddenSize", `a whole number from 1 to ${LARGEST_WIDTH}`, hiddenSize);
  if (typeof maxLogitsBytes !== "number" || !(maxLogitsBytes > 0))
    throw outOfRange("maxLogitsBytes", "a number above 0", maxLogitsBytes);
  checkTensors(where, head, rows * hiddenSize);
  const vocab = weight.length / hiddenSize;
  if (!Number.isInteger(vocab) || vocab < 1 || vocab > LARGEST_VOCABULARY)
    throw new ArgumentError(
      "ERR_INVALID_SHAPE",
      `[${where}] weight has the wrong length: expected V rows of hiddenSize ${hiddenSize}, got ${weight.length}.`,
    );
  const chunkRows = Math.min(Math.max(1, Math.floor(maxLogitsBytes / (4 * vocab))), LARGEST_VOCABULARY);
  return {
    hidden: placeTensor(where, hidden),
    hiddenDtype: dtypeOf(hidden),
    weight: placeTensor(where, weight),
    weightDtype: dtypeOf(weight),
    vocab,
    width: hiddenSize,
    chunkRows,
    ...placeCall(where, hidden, head.device),
  };
}
