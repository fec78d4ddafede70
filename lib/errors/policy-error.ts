import { EchoGrpoError } from "./echo-grpo-error.js";

/** A policy could not sample. Codes: `ERR_POLICY`, `ERR_POLICY_CONTEXT`, `ERR_POLICY_DISPOSED`. */
export class PolicyError extends EchoGrpoError {}
