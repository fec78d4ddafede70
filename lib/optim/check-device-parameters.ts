import { DeviceTensor } from "../cuda/device-tensor.js";
import { ArgumentError } from "../errors/argument-error.js";
import type { DeviceParameter } from "./device-parameter.js";

const ALLOWED: Record<string, readonly string[]> = {
  float32: ["float32"],
  bfloat16: ["float32", "bfloat16"],
};

function refuse(code: string, what: string): never {
  throw new ArgumentError(code, `[AdamW] ${what}`);
}

/**
 * @throws ArgumentError ERR_UNSUPPORTED (a tensor of the host, another device or stream), ERR_INVALID_DTYPE, ERR_INVALID_SHAPE (a name twice,
 *   lengths), ERR_DISPOSED.
 */
export function checkDeviceParameters(parameters: readonly DeviceParameter[]): void {
  const names = new Set<string>();
  const beside = parameters[0].value;
  for (const { name, value, grad, dtype } of parameters) {
    if (names.has(name))
      refuse(
        "ERR_INVALID_SHAPE",
        `two parameters are named ${name}: expected every name once. Checkpoints store moments by name.`,
      );
    names.add(name);
    for (const [part, tensor] of [
      ["value", value],
      ["grad", grad],
    ] as const) {
      if (!(tensor instanceof DeviceTensor))
        refuse(
          "ERR_UNSUPPORTED",
          `the ${part} of ${name} is not where the others are: expected a DeviceTensor, got an array of the host. Put all parameters on one device.`,
        );
      tensor.memory("AdamW");
      if (tensor.device !== beside.device || tensor.stream !== beside.stream)
        refuse(
          "ERR_UNSUPPORTED",
          `the ${part} of ${name} is not where the others are: expected device ${beside.device} and the stream of the first parameter, got one of device ${tensor.device}${tensor.device === beside.device ? " and another stream" : ""}.`,
        );
    }
    if (!Object.hasOwn(ALLOWED, value.dtype) || (dtype !== undefined && dtype !== value.dtype))
      refuse(
        "ERR_INVALID_DTYPE",
        `the value of ${name} has the wrong type: expected ${dtype ?? "float32 or bfloat16"}, got ${value.dtype}.`,
      );
    if (!ALLOWED[value.dtype].includes(grad.dtype))
      refuse(
        "ERR_INVALID_DTYPE",
        `the grad of ${name} has the wrong type: expected ${ALLOWED[value.dtype].join(" or ")} with ${value.dtype}, got ${grad.dtype}.`,
      );
    if (value.length !== grad.length)
      refuse(
        "ERR_INVALID_SHAPE",
        `the gradient of ${name} does not fit: expected length ${value.length}, got ${grad.length}.`,
      );
  }
}
