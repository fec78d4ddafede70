// Writes schemas/config.schema.json from the configuration's zod schema: npm run schema.

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { packageRoot } from "../lib/native/package-root.js";
import { configJsonSchema } from "../lib/train/config/config-json-schema.js";

const directory = join(packageRoot(), "schemas");
await mkdir(directory, { recursive: true });
await writeFile(join(directory, "config.schema.json"), `${JSON.stringify(configJsonSchema(), null, 2)}\n`);
