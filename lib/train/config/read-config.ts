import { readFile } from "node:fs/promises";
import { ConfigError } from "../../errors/config-error.js";
import { parseConfig } from "./parse-config.js";
import type { TrainConfig } from "./train-config.js";

/** @throws ConfigError when the file cannot be read, is not JSON or is not a configuration. */
export async function readConfig(path: string): Promise<TrainConfig> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    throw new ConfigError(
      "ERR_CONFIG",
      `[config] cannot read ${path}: expected a JSON file, got ${(cause as Error).message}. Check the path.`,
      { cause },
    );
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new ConfigError(
      "ERR_CONFIG",
      `[${path}] not JSON: ${(cause as Error).message}. Mend the file; comments are not allowed.`,
      { cause },
    );
  }
  return parseConfig(value, path);
}
