import { fileURLToPath } from "node:url";

/** Directory of a tokenizer that comes with this package. */
export function shippedTokenizer(world: "tinyterm" | "maze"): string {
  return fileURLToPath(new URL(`../../assets/${world}`, import.meta.url));
}
