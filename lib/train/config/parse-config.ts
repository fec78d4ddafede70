import { ConfigError } from "../../errors/config-error.js";
import { knownKeys } from "./known-keys.js";
import { nearestKey } from "./nearest-key.js";
import { type TrainConfig, trainConfigSchema } from "./train-config.js";

/**
 * Checks a configuration and fills in the defaults; with algorithm grpo, lambda becomes 0.
 *
 * @param value what `JSON.parse` gave.
 * @param where the file's name, for messages.
 * @throws ConfigError ERR_CONFIG_UNKNOWN_KEY naming the nearest known key; ERR_CONFIG for any other fault.
 */
export function parseConfig(value: unknown, where = "config"): TrainConfig {
  const result = trainConfigSchema.safeParse(value);
  if (!result.success) {
    const dotted = (path: readonly PropertyKey[]): string => path.map(String).join(".");
    for (const issue of result.error.issues) {
      if (issue.code !== "unrecognized_keys") continue;
      const path = [...issue.path.map(String), issue.keys[0]];
      const nearest = nearestKey(path, knownKeys(trainConfigSchema));
      const hint = nearest ? `Did you mean "${nearest}"?` : "Remove it, or see schemas/config.schema.json.";
      throw new ConfigError(
        "ERR_CONFIG_UNKNOWN_KEY",
        `[${where}] unknown key "${path.join(".")}": expected a key of the schema. ${hint}`,
      );
    }
    const faults = result.error.issues.map((issue) => {
      const message = issue.message.replace(/^Invalid (input|option): /, "");
      return issue.path.length === 0 ? message : `"${dotted(issue.path)}": ${message}`;
    });
    throw new ConfigError(
      "ERR_CONFIG",
      `[${where}] ${faults.join("; ")}. See schemas/config.schema.json for every key.`,
    );
  }
  const config = result.data;
  if (config.algorithm === "grpo") return { ...config, lambda: 0, lambdaSchedule: { kind: "constant" } };
  return config;
}
