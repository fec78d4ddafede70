import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Variant } from "./search-plan.js";

/** The configuration of a variant: its recipe of examples/tinyterm, changed. */
export function variantConfig({ changes = {}, recipe }: Variant): Record<string, unknown> {
  const path = join(import.meta.dirname, "..", "examples", "tinyterm", `${recipe}.json`);
  const { $schema: _, ...config } = JSON.parse(readFileSync(path, "utf8"));
  for (const [key, value] of Object.entries(changes))
    config[key] = typeof value === "object" ? { ...config[key], ...value } : value;
  return config;
}
