import { EchoGrpoError } from "./echo-grpo-error.js";

/** A file we read (trajectory, tokenizer, weights) is not what it should be. Codes: `ERR_TRAJECTORY`, `ERR_TOKENIZER`, `ERR_SAFETENSORS`, `ERR_MODEL_CONFIG`. */
export class DataError extends EchoGrpoError {}
