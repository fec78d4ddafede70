import { ArgumentError } from "../errors/argument-error.js";
import type { LogitsDtype } from "./check-logits.js";

/** The type in which the gradient of logits of type `dtype` is written. @throws ArgumentError ERR_INVALID_DTYPE. */
export function checkGradientDtype(
  where: string,
  gradientDtype: LogitsDtype | undefined,
  dtype: LogitsDtype,
): LogitsDtype {
  const got = gradientDtype ?? dtype;
  if (got === dtype || (dtype === "float32" && got === "bfloat16")) return got;
  throw new ArgumentError(
    "ERR_INVALID_DTYPE",
    `[${where}] gradientDtype is unusable: expected "${dtype}" as the logits, or "bfloat16" for float32 logits, got ${String(gradientDtype)}.`,
  );
}
