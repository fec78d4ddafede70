import type { z } from "zod";

interface SchemaNode {
  def: { type: string; innerType?: SchemaNode; options?: SchemaNode[] };
  shape?: Record<string, SchemaNode>;
}

/** Every key path an object schema knows, for example `["optimizer", "learningRate"]`. */
export function knownKeys(schema: z.ZodType): string[][] {
  const walk = (node: SchemaNode, path: string[]): string[][] => {
    if (node.def.innerType) return walk(node.def.innerType, path);
    if (node.def.options) return node.def.options.flatMap((option) => walk(option, path));
    return Object.entries(node.shape ?? {}).flatMap(([key, child]) => [
      [...path, key],
      ...walk(child, [...path, key]),
    ]);
  };
  return walk(schema as unknown as SchemaNode, []);
}
