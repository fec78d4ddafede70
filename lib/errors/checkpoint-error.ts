import { EchoGrpoError } from "./echo-grpo-error.js";

/** A checkpoint is missing, incomplete, corrupt or does not fit. Codes: `ERR_CHECKPOINT_MISSING`, `ERR_CHECKPOINT_CORRUPT`, `ERR_CHECKPOINT_MISMATCH`. */
export class CheckpointError extends EchoGrpoError {}
