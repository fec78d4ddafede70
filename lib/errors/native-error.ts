import { EchoGrpoError } from "./echo-grpo-error.js";

/**
 * The native addon is missing, of another version, failed to load or reported a failure, or CUDA did. Codes: `ERR_NATIVE_MISSING`,
 * `ERR_NATIVE_VERSION`, `ERR_NATIVE_LOAD`, `ERR_NATIVE_STATUS`; `ERR_CUDA_UNAVAILABLE`, `ERR_CUDA` (the message has the name CUDA gives it),
 * `ERR_CUDA_OUT_OF_MEMORY`, `ERR_UNSUPPORTED`.
 */
export class NativeError extends EchoGrpoError {}
