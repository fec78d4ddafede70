import { EchoGrpoError } from "./echo-grpo-error.js";

/** The sandbox itself failed (not the command inside it): an infrastructure failure, never scored. Codes: `ERR_SANDBOX_START`, `ERR_SANDBOX_GONE`, `ERR_SANDBOX_DISPOSED`, `ERR_SANDBOX_PATH`, `ERR_SANDBOX_LIMIT`. */
export class SandboxError extends EchoGrpoError {}
