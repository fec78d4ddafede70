import { expect, it } from "vitest";
import { parseConfig } from "../../lib/train/config/parse-config.js";
import { startPolicyArchitecture } from "../../lib/train/start-policy-architecture.js";
import { SEARCH } from "../../scripts/search-plan.js";
import { variantConfig } from "../../scripts/variant-config.js";

it("names every variant once, each with a configuration and a size that are valid", () => {
  expect(new Set(SEARCH.map(({ name }) => name)).size).toBe(SEARCH.length);
  for (const variant of SEARCH) {
    const config = parseConfig(variantConfig(variant), variant.name);
    expect(config).toMatchObject(variant.changes ?? {});
    if (variant.size !== undefined) startPolicyArchitecture(variant.size);
  }
});

it("changes nothing else", () => {
  const plain = variantConfig({ name: "", label: "", recipe: "echo", seeds: [] });
  expect(plain.tasks).toEqual({ family: "tinyterm", split: "train" });
  expect(
    variantConfig({
      name: "",
      label: "",
      recipe: "echo",
      seeds: [],
      changes: { lambda: 1, tasks: { curriculumSteps: 3 } },
    }),
  ).toEqual({ ...plain, lambda: 1, tasks: { family: "tinyterm", split: "train", curriculumSteps: 3 } });
});
