import { ArgumentError } from "../errors/argument-error.js";
import type { Bfloat16Parameter } from "./bfloat16-parameter.js";
import type { OptimizerParameter } from "./optimizer-parameter.js";

/** As a name, so that arrays of another realm (a vm context) pass. */
const kindOf = (value: unknown): string => Object.prototype.toString.call(value).slice(8, -1);

const ALLOWED = {
  float32: { value: ["Float32Array"], grad: ["Float32Array"] },
  bfloat16: { value: ["Uint16Array"], grad: ["Float32Array", "Uint16Array"] },
} as const;

function refuse(code: string, what: string): never {
  throw new ArgumentError(code, `[AdamW] ${what}`);
}

/** @throws ArgumentError ERR_INVALID_SHAPE (a name twice, lengths), ERR_INVALID_DTYPE. */
export function checkOptimizerParameters(
  parameters: readonly (OptimizerParameter | Bfloat16Parameter)[],
): void {
  const names = new Set<string>();
  for (const parameter of parameters) {
    const { name, value, grad, dtype = "float32" } = parameter;
    if (names.has(name))
      refuse(
        "ERR_INVALID_SHAPE",
        `two parameters are named ${name}: expected every name once. Checkpoints store moments by name.`,
      );
    names.add(name);
    if (!Object.hasOwn(ALLOWED, dtype))
      refuse(
        "ERR_INVALID_DTYPE",
        `the dtype of ${name} is unknown: expected "float32" or "bfloat16", got ${String(dtype)}.`,
      );
    for (const part of ["value", "grad"] as const) {
      const allowed: readonly string[] = ALLOWED[dtype][part];
      if (!allowed.includes(kindOf(parameter[part])))
        refuse(
          "ERR_INVALID_DTYPE",
          `the ${part} of ${name} has the wrong type: expected a ${allowed.join(" or a ")} with ${dtype}, got ${kindOf(parameter[part])}.`,
        );
    }
    if (value.length !== grad.length)
      refuse(
        "ERR_INVALID_SHAPE",
        `the gradient of ${name} does not fit: expected length ${value.length}, got ${grad.length}.`,
      );
  }
}
