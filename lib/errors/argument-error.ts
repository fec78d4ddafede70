import { EchoGrpoError } from "./echo-grpo-error.js";

/** A value handed to a function of this package is unusable. Codes: `ERR_INVALID_TYPE`, `ERR_INVALID_SHAPE`, `ERR_INVALID_DTYPE`, `ERR_DETACHED`, `ERR_DISPOSED`, `ERR_OUT_OF_RANGE`, `ERR_NON_FINITE`, `ERR_OVERLAP`, `ERR_UNSUPPORTED`. */
export class ArgumentError extends EchoGrpoError {}
