import { EchoGrpoError } from "./echo-grpo-error.js";

/** A configuration file or command line is wrong. Codes: `ERR_CONFIG`, `ERR_CONFIG_UNKNOWN_KEY`, `ERR_RUN_EXISTS`. */
export class ConfigError extends EchoGrpoError {}
