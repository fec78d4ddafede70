// npm run report:tinyterm
// Writes the tables of docs/tinyterm.md and docs/tinyterm.svg from bench/results/tinyterm/, where `npm run study:tinyterm` and
// `npm run search:tinyterm` leave them.
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { renderTable } from "../bench/render-table.js";
import { replaceMarked } from "../bench/replace-marked.js";
import { drawCurves } from "./draw-curves.js";
import { meanInterval } from "./mean-interval.js";
import { searchTable } from "./search-table.js";
import { STUDY } from "./study-plan.js";

type Line = Record<string, number>;
interface Result {
  val: Line;
  ood: Line;
}

const RESULTS = join("bench", "results", "tinyterm");
const read = (path: string): unknown => JSON.parse(readFileSync(path, "utf8"));
const has = (seed: number, name: string): boolean =>
  existsSync(join(RESULTS, `seed-${seed}`, `${name}.json`));
const seeds = readdirSync(RESULTS)
  .filter((name) => /^seed-\d+$/.test(name))
  .map((name) => Number(name.slice("seed-".length)))
  .filter((seed) => has(seed, "grpo") && has(seed, "echo"))
  .sort((a, b) => a - b);
if (seeds.length === 0)
  throw new Error(`[report:tinyterm] no complete seed in ${RESULTS}; run npm run study:tinyterm first.`);

const done = (name: string): number[] => seeds.filter((seed) => has(seed, name));
const trained = STUDY.arms.filter(({ name }) => done(name).length > 0);
const arms = [{ name: "start", label: "start" }, ...trained];
const results = new Map<string, Result[]>(
  arms.map(({ name }) => [
    name,
    done(name).map((seed) => read(join(RESULTS, `seed-${seed}`, `${name}.json`)) as Result),
  ]),
);
const curve = (name: string, seed: number): Line[] =>
  readFileSync(join(RESULTS, `seed-${seed}`, `${name}.metrics.jsonl`), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Line);
const of = (name: string, split: "val" | "ood", key: string): number[] =>
  (results.get(name) ?? []).map((result) => result[split][key]);
const cell = (values: readonly number[], scale: number, digits: number): string => {
  const { half, mean } = meanInterval(values.map((value) => scale * value));
  return `${mean.toFixed(digits)}${half === undefined ? "" : ` ± ${half.toFixed(digits)}`}`;
};

const first = results.get("start")?.[0] as Result;
const keys = Object.keys(first.val).filter((key) => key.startsWith("eval/success"));
const short = (key: string): string =>
  key === "eval/success" ? "all" : key.slice("eval/success/tinyterm/".length);
const perFamily = (["val", "ood"] as const).map((split) =>
  renderTable({
    title:
      split === "val"
        ? "Success on val, % (mean over seeds ± 95 % interval)"
        : "Success out of distribution, % (unseen names, deeper trees, held-out variants)",
    columns: ["", "seeds", ...keys.map(short)],
    rows: arms.map(({ label, name }) => [
      label,
      String(done(name).length),
      ...keys.map((key) => cell(of(name, split, key), 100, 1)),
    ]),
    notes: [],
  }),
);
const nll = renderTable({
  title: "Observation nll on the expert's trajectories, nats per token",
  columns: ["", "seeds", "val", "ood"],
  rows: [
    [
      "floor",
      "",
      ...(["val", "ood"] as const).map((split) => first[split]["eval/observation_floor"].toFixed(3)),
    ],
    ...arms.map(({ label, name }) => [
      label,
      String(done(name).length),
      ...(["val", "ood"] as const).map((split) => cell(of(name, split, "eval/observation_nll"), 1, 3)),
    ]),
  ],
  notes: [],
});

/** The evaluated step at which a curve first reaches `goal`; undefined when it never does. */
const stepReaching = (lines: readonly Line[], goal: number): number | undefined =>
  lines.find((line) => line.step > 0 && line["eval/success"] >= goal)?.step;
const best = (name: string, seed: number): number =>
  Math.max(...curve(name, seed).map((line) => line["eval/success"] ?? 0));
const speedTables = [
  { goal: "grpo", label: "GRPO", names: ["grpo", "echo", "env-only"] },
  { goal: "sft-grpo", label: "SFT + GRPO", names: ["sft-grpo", "sft-echo"] },
].map(({ goal, label, names }) => {
  const columns = trained.filter(({ name }) => names.includes(name));
  return renderTable({
    title: `Training step at which the evaluation first reaches the best of ${label} of the same seed`,
    columns: ["seed", `best of ${label}, %`, ...columns.map((arm) => arm.label)],
    rows: done(goal).map((seed) => [
      String(seed),
      (100 * best(goal, seed)).toFixed(1),
      ...columns.map(({ name }) =>
        has(seed, name) ? String(stepReaching(curve(name, seed), best(goal, seed)) ?? "never") : "-",
      ),
    ]),
    notes: [],
  });
});
const success = (name: string, seed: number): number =>
  of(name, "val", "eval/success")[done(name).indexOf(seed)];
const pairs = renderTable({
  title: "What the observation term adds to success on val, percentage points, seed by seed",
  columns: ["", ...seeds.map((seed) => `seed ${seed}`), "mean ± 95 % interval"],
  rows: (
    [
      ["ECHO − GRPO", "echo", "grpo"],
      ["SFT + ECHO − SFT + GRPO", "sft-echo", "sft-grpo"],
    ] as const
  ).map(([label, a, b]) => {
    const both = seeds.filter((seed) => has(seed, a) && has(seed, b));
    const difference = (seed: number): number => success(a, seed) - success(b, seed);
    return [
      label,
      ...seeds.map((seed) => (both.includes(seed) ? (100 * difference(seed)).toFixed(1) : "-")),
      cell(both.map(difference), 100, 1),
    ];
  }),
  notes: [],
});
const bySeed = renderTable({
  title: "Success on val by seed, %",
  columns: ["seed", ...arms.map(({ label }) => label)],
  rows: seeds.map((seed) => [
    String(seed),
    ...arms.map(({ name }) => {
      const at = done(name).indexOf(seed);
      return at < 0 ? "-" : (100 * of(name, "val", "eval/success")[at]).toFixed(1);
    }),
  ]),
  notes: [],
});
const configs = seeds.flatMap((seed) =>
  trained
    .filter(({ name }) => has(seed, name))
    .map(
      ({ name }) =>
        read(join(RESULTS, `seed-${seed}`, `${name}.config.json`)) as {
          build: { isa: string; node: string };
          commit: string | null;
          machine: { cpu: string; cores: number };
        },
    ),
);
const [{ build, machine }] = configs;
const commits = [...new Set(configs.map(({ commit }) => commit?.slice(0, 10) ?? "unknown"))];
const made = `${seeds.length} seeds (${seeds.join(", ")}), made by \`npm run study:tinyterm\` and \`npm run report:tinyterm\` at commit${commits.length > 1 ? "s" : ""} ${commits.join(", ")} on ${machine.cpu}, ${machine.cores} cores, Node ${build.node}, ${build.isa}. Raw results: \`bench/results/tinyterm/\`.`;
const page = "docs/tinyterm.md";
const text = replaceMarked(
  readFileSync(page, "utf8"),
  "results",
  [...perFamily, nll, pairs, ...speedTables, bySeed, made].join("\n\n"),
);
const searched = searchTable(RESULTS);
writeFileSync(page, searched === undefined ? text : replaceMarked(text, "search", searched));
const drawn = [
  { name: "grpo", label: "GRPO", color: "#c2410c" },
  { name: "echo", label: "ECHO", color: "#1d4ed8" },
  { name: "env-only", label: "env-only", color: "#15803d" },
].filter(({ name }) => trained.some((arm) => arm.name === name));
writeFileSync(
  "docs/tinyterm.svg",
  drawCurves({
    panels: [
      { title: "success on held-out tasks", key: "eval/success", low: 0 },
      {
        title: "observation nll, expert's trajectories (nats)",
        key: "eval/observation_nll",
        low: 0,
        floor: first.val["eval/observation_floor"],
      },
    ],
    series: drawn.flatMap(({ label, name }) =>
      done(name).map((seed) => ({ name: label, lines: curve(name, seed) })),
    ),
    colors: Object.fromEntries(drawn.map(({ color, label }) => [label, color])),
  }),
);
console.log(`${page} and docs/tinyterm.svg written from ${seeds.length} seeds`);
