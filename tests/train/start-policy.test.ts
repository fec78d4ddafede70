import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { packageRoot } from "../../lib/native/package-root.js";
import { tinytermFamily } from "../../lib/tasks/tinyterm/tinyterm-family.js";
import { visitFamily } from "../../lib/tasks/tinyterm/visit/visit-family.js";
import { startPolicyDigests } from "../../lib/train/start-policy-digests.js";
import { START_POLICY_RECIPE } from "../../lib/train/start-policy-recipe.js";

const start = join(packageRoot(), "assets", "tinyterm", "start");
const manifest = JSON.parse(await readFile(join(start, "manifest.json"), "utf8"));

it("was made by this recipe, for this tokenizer, harness and generator: else run npm run make:start-policy", async () => {
  expect(manifest.recipe).toEqual(START_POLICY_RECIPE);
  expect(manifest.madeWith).toEqual(await startPolicyDigests([tinytermFamily, visitFamily]));
});

it("is what its manifest says, byte for byte", async () => {
  expect(Object.keys(manifest.sha256).sort()).toEqual([
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
  ]);
  for (const [name, expected] of Object.entries(manifest.sha256))
    expect(
      createHash("sha256")
        .update(await readFile(join(start, name)))
        .digest("hex"),
      name,
    ).toBe(expected);
  expect(manifest.sha256["tokenizer.json"]).toBe(manifest.madeWith.tokenizer);
});
