import { EchoGrpoError } from "./echo-grpo-error.js";

/** A file of a run could not be written (disk full, no permission). Code: `ERR_WRITE`. */
export class WriteError extends EchoGrpoError {}
