import { z } from "zod";
import { trainConfigSchema } from "./train-config.js";

/** JSON schema (draft 2020-12) of a configuration file, as `schemas/config.schema.json` holds it. */
export function configJsonSchema(): object {
  const schema = z.toJSONSchema(trainConfigSchema, { io: "input", target: "draft-2020-12" });
  return { title: "echo-grpo configuration", ...schema };
}
