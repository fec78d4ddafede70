import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { SEARCH } from "../../scripts/search-plan.js";
import { searchTable } from "../../scripts/search-table.js";

const results = mkdtempSync(join(tmpdir(), "search-table-"));
afterEach(() => rmSync(results, { recursive: true, force: true }));

const write = (path: string, success: number, nll: number): void => {
  mkdirSync(join(results, path, ".."), { recursive: true });
  const val = { "eval/success": success, "eval/observation_nll": nll };
  writeFileSync(join(results, `${path}.json`), JSON.stringify({ val }));
};

it("compares a variant with the study's arm on the seeds that both have", () => {
  expect(searchTable(results)).toBeUndefined();
  const { label, name, recipe } = SEARCH[0];
  write(`search/${name}-1`, 0.5, 0.7);
  write(`search/${name}-2`, 0.6, 0.8);
  write(`search/${name}-3`, 0.9, 0.9);
  write(`seed-1/${recipe}`, 0.4, 1);
  write(`seed-2/${recipe}`, 0.4, 1);
  const row = searchTable(results)
    ?.split("\n")
    .find((line) => line.includes(label))
    ?.split("|")
    .map((cell) => cell.trim());
  // The 95 % interval of two values 0.1 apart: 12.706 · 0.1 / 2.
  expect(row?.slice(2, -2)).toEqual(["1, 2", "55.0 ± 63.5", "40.0 ± 0.0", "0.750 ± 0.635", "1.000 ± 0.000"]);
});
