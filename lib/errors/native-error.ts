import { EchoGrpoError } from "./echo-grpo-error.js";

/**
 * The native addon is missing, of another version, failed to load or reported a failure. Codes: `ERR_NATIVE_MISSING`,
 * `ERR_NATIVE_VERSION`, `ERR_NATIVE_LOAD`, `ERR_NATIVE_STATUS`.
 */
export class NativeError extends EchoGrpoError {}
