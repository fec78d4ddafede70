import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { renderTable } from "../bench/render-table.js";
import { meanInterval } from "./mean-interval.js";
import { SEARCH } from "./search-plan.js";

type Measures = Record<string, number>;

/**
 * What the search found, variant by variant, beside the study's arm on the same seeds.
 * @param results `bench/results/tinyterm`. @returns undefined when nothing was searched yet.
 */
export function searchTable(results: string): string | undefined {
  const read = (path: string): Measures => JSON.parse(readFileSync(path, "utf8")).val as Measures;
  const cell = (values: readonly number[], scale: number, digits: number): string => {
    const { half, mean } = meanInterval(values.map((value) => scale * value));
    return `${mean.toFixed(digits)}${half === undefined ? "" : ` ± ${half.toFixed(digits)}`}`;
  };
  const success = (all: readonly Measures[]): string =>
    cell(
      all.map((measures) => measures["eval/success"]),
      100,
      1,
    );
  const nll = (all: readonly Measures[]): string =>
    cell(
      all.map((measures) => measures["eval/observation_nll"]),
      1,
      3,
    );
  const rows = SEARCH.flatMap(({ label, name, recipe, seeds, size }) => {
    const at = (seed: number): string => join(results, "search", `${name}-${seed}.json`);
    const done = seeds.filter(
      (seed) => existsSync(at(seed)) && existsSync(join(results, `seed-${seed}`, `${recipe}.json`)),
    );
    if (done.length === 0) return [];
    const found = done.map((seed) => read(at(seed)));
    const compared = done.map((seed) => read(join(results, `seed-${seed}`, `${recipe}.json`)));
    const start = size && [read(join(results, "search", `start-${size.hiddenSize}x${size.layers}.json`))];
    return [
      [
        `${recipe === "grpo" ? "GRPO" : "ECHO"}, ${label}`,
        done.join(", "),
        ...[success(found), success(compared), nll(found), nll(compared)],
        start === undefined ? "" : `${success(start)} %, ${nll(start)}`,
      ],
    ];
  });
  if (rows.length === 0) return undefined;
  return renderTable({
    title: "Variants on val, beside the recipe on the same seeds",
    columns: [
      ...["", "seeds", "success, %", "recipe's success, %", "observation nll", "recipe's nll"],
      "its own start",
    ],
    rows,
    notes: [],
  });
}
