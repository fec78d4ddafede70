import { configJsonSchema } from "./config-json-schema.js";

interface SchemaNode {
  type?: string;
  const?: unknown;
  enum?: unknown[];
  default?: unknown;
  description?: string;
  properties?: Record<string, SchemaNode>;
  required?: string[];
  anyOf?: SchemaNode[];
  oneOf?: SchemaNode[];
  items?: SchemaNode;
  prefixItems?: SchemaNode[];
}

function typeOf(node: SchemaNode): string {
  const options = node.anyOf ?? node.oneOf;
  if (options) return options.map(typeOf).join(" or ");
  if (node.const !== undefined) return JSON.stringify(node.const);
  if (node.enum) return node.enum.map((value) => JSON.stringify(value)).join(", ");
  if (node.prefixItems) return `[${node.prefixItems.map(typeOf).join(", ")}]`;
  if (node.type === "array") return `${typeOf(node.items ?? {})}[]`;
  if (node.properties) return `{ ${Object.keys(node.properties).join(", ")} }`;
  return node.type ?? "any";
}

function rows(node: SchemaNode, path: string): string[] {
  const required = new Set(node.required);
  return Object.entries(node.properties ?? {}).flatMap(([key, child]) => {
    const name = path === "" ? key : `${path}.${key}`;
    if (child.properties) return [`| \`${name}\` | | | ${child.description ?? ""} |`, ...rows(child, name)];
    const fallback =
      child.default === undefined
        ? required.has(key)
          ? "required"
          : ""
        : `\`${JSON.stringify(child.default)}\``;
    const cell = (text: string): string => text.replaceAll("|", "\\|").replaceAll("\n", " ");
    return [`| \`${name}\` | ${cell(typeOf(child))} | ${fallback} | ${cell(child.description ?? "")} |`];
  });
}

/** docs/configuration.md: every key of a configuration with type, default and meaning, from the schema itself. */
export function configReference(): string {
  const schema = configJsonSchema() as SchemaNode;
  return `# Configuration

What \`npx echo-grpo train <config.json>\` takes. Written from the schema by \`npm run schema\`; editors that know JSON schema use
\`schemas/config.schema.json\`. An unknown key is an error that names the nearest known one. Relative paths are resolved where the
command runs. \`--dry-run\` prints the configuration with every default filled in and what it implies.

| key | type | default | meaning |
|---|---|---|---|
${rows(schema, "").join("\n")}

Smallest useful file:

\`\`\`json
{
  "algorithm": "echo",
  "out": "runs/first",
  "steps": 100,
  "model": { "path": "path/to/a/model" }
}
\`\`\`
`;
}
