// Writes schemas/config.schema.json and docs/configuration.md from the configuration's zod schema: npm run schema.

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { packageRoot } from "../lib/native/package-root.js";
import { configJsonSchema } from "../lib/train/config/config-json-schema.js";
import { configReference } from "../lib/train/config/config-reference.js";

const directory = join(packageRoot(), "schemas");
await mkdir(directory, { recursive: true });
await writeFile(join(directory, "config.schema.json"), `${JSON.stringify(configJsonSchema(), null, 2)}\n`);
await writeFile(join(packageRoot(), "docs", "configuration.md"), configReference());
