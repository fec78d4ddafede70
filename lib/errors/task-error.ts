import { EchoGrpoError } from "./echo-grpo-error.js";

/** A task or its verifier is broken. Codes: `ERR_TASK`, `ERR_VERIFIER`. */
export class TaskError extends EchoGrpoError {}
