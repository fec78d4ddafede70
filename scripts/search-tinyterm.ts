// npm run search:tinyterm -- [name of a variant ...]
// Trains the variants of scripts/search-plan.ts (all of them, or those named), measures what each leaves on val, and keeps the raw results in
// bench/results/tinyterm/search/. What is there already is not done again.
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { measurePolicy } from "./measure-policy.js";
import { runCli } from "./run-cli.js";
import { SEARCH, type Variant } from "./search-plan.js";
import { trainAndKeep } from "./train-and-keep.js";
import { variantConfig } from "./variant-config.js";

const names = process.argv.slice(2);
const unknown = names.filter((name) => !SEARCH.some((variant) => variant.name === name));
if (unknown.length > 0) throw new Error(`[search:tinyterm] no variant is called ${unknown.join(", ")}.`);
const runs = join("runs", "tinyterm", "search");
const results = join("bench", "results", "tinyterm", "search");
mkdirSync(runs, { recursive: true });
mkdirSync(results, { recursive: true });

/** The model that a variant starts from: the recipe's, or one made for its size. */
function startOf({ size }: Variant): string | undefined {
  if (size === undefined) return undefined;
  const name = `start-${size.hiddenSize}x${size.layers}`;
  const out = join(runs, name);
  if (!existsSync(join(out, "manifest.json")))
    runCli(
      ...["make-start-policy", "--out", out, "--work", join(runs, `${name}-work`)],
      ...["--hidden-size", `${size.hiddenSize}`, "--layers", `${size.layers}`],
    );
  measurePolicy(out, 1, join(results, `${name}.json`), ["val"]);
  return out;
}

for (const variant of SEARCH.filter(({ name }) => names.length === 0 || names.includes(name))) {
  const { name, seeds } = variant;
  const config = join(runs, `${name}.json`);
  writeFileSync(config, JSON.stringify(variantConfig(variant)));
  for (const seed of seeds) {
    const path = join(results, `${name}-${seed}`);
    if (existsSync(`${path}.json`)) continue;
    trainAndKeep({
      config,
      seed,
      out: join(runs, `${name}-${seed}`),
      model: startOf(variant),
      keep: { path, splits: ["val"] },
    });
  }
}
