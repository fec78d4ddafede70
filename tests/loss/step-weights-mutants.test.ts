import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import type { stepWeights } from "../../lib/loss/step-weights.js";
import { worstGoldenError } from "./golden-cases.js";

// The goldens are only worth something if a wrong normaliser turns them red: each mutant below deletes one division from the source.
const directory = mkdtempSync(join(tmpdir(), "echo-grpo-mutants-"));
const file = fileURLToPath(new URL("../../lib/loss/step-weights.ts", import.meta.url));
const source = readFileSync(file, "utf8");

afterAll(() => rmSync(directory, { recursive: true, force: true }));

async function load(name: string, text: string): Promise<typeof stepWeights> {
  const absolute = text.replace(/from "(\.[^"]+)\.js"/g, (_, path: string) => {
    return `from ${JSON.stringify(`${fileURLToPath(new URL(path, `file://${file}`))}.ts`)}`;
  });
  const path = join(directory, `${name}.ts`);
  writeFileSync(path, absolute);
  const module = (await import(/* @vite-ignore */ path)) as { stepWeights: typeof stepWeights };
  return module.stepWeights;
}

function replaceOnce(text: string, from: string, to: string): string {
  expect(text.split(from).length, `the source no longer has exactly one "${from}"`).toBe(2);
  return text.replace(from, to);
}

describe("deleting a normaliser turns the goldens red", () => {
  it("and the source as it is keeps them green", async () => {
    expect(worstGoldenError(await load("original", source))).toBeLessThanOrEqual(1e-12);
  });

  it.each([
    ["N of the policy term", "1 / (n * each.actions)", "1 / each.actions"],
    ["|A_i|", "1 / (n * each.actions)", "1 / n"],
    ["N of a constant aggregation", "1 / (n * maxLength)", "1 / maxLength"],
    ["Σ|A_i|", "1 / allActions", "1"],
    [
      "N of the observation term",
      "(n * (each.observations + each.dropped + each.warnings + epsilon))",
      "(each.observations + each.dropped + each.warnings + epsilon)",
    ],
    ["|O_i|", "(n * (each.observations + each.dropped + each.warnings + epsilon))", "n"],
    ["the warnings of |O_i|", "each.dropped + each.warnings + epsilon", "each.dropped + epsilon"],
    ["the epsilon of |O_i|", "each.warnings + epsilon", "each.warnings"],
    ["N of a selected denominator", "(n * (each.observations + epsilon))", "(each.observations + epsilon)"],
    ["|O'_i|", "(n * (each.observations + epsilon))", "n"],
    ["Σ|O'_i|", "lambda / (allObservations + epsilon)", "lambda"],
    [
      "empty sequences in N",
      "const n = sequences.length",
      "const n = sequences.filter((s) => s.roles.includes(1)).length",
    ],
  ])("%s", async (name, from, to) => {
    const mutant = await load(name.replace(/\W+/g, "-"), replaceOnce(source, from, to));
    expect(worstGoldenError(mutant)).toBeGreaterThan(1e-6);
  });
});
