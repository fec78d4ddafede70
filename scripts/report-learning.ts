// npm run report:learning -- <quickstart directory> ...
// Keeps the results of quickstart runs in bench/results/learning/, draws docs/learning.svg and rewrites the tables of docs/learning.md.
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { renderTable } from "../bench/render-table.js";
import { replaceMarked } from "../bench/replace-marked.js";
import { wilsonInterval } from "../lib/eval/wilson-interval.js";
import type { Comparison } from "../lib/report/compare-arms.js";
import { drawCurves } from "./draw-curves.js";

const TASKS = 256;
const ARMS = ["grpo", "echo"] as const;
const RESULTS = "bench/results/learning";

type Line = Record<string, number>;

const directories = process.argv.slice(2);
if (directories.length === 0)
  throw new Error("[report:learning] expected at least one quickstart directory, got none.");
mkdirSync(RESULTS, { recursive: true });

const runs = directories.map((directory) => {
  const comparison = JSON.parse(readFileSync(join(directory, "comparison.json"), "utf8")) as Comparison & {
    seed: number;
  };
  const name = join(RESULTS, `seed-${comparison.seed}`);
  copyFileSync(join(directory, "comparison.json"), `${name}.json`);
  const lines = {} as Record<(typeof ARMS)[number], Line[]>;
  for (const arm of ARMS) {
    for (const kind of ["metrics", "timings"])
      copyFileSync(join(directory, arm, `${kind}.jsonl`), `${name}-${arm}.${kind}.jsonl`);
    const text = readFileSync(join(directory, arm, "metrics.jsonl"), "utf8").trim();
    lines[arm] = text.split("\n").map((line) => JSON.parse(line) as Line);
  }
  const { build, commit, machine } = JSON.parse(
    readFileSync(join(directory, "echo", "config.json"), "utf8"),
  ) as { build: Record<string, unknown>; commit: string | null; machine: Record<string, unknown> };
  return { comparison, lines, build, commit, machine };
});
runs.sort((a, b) => a.comparison.seed - b.comparison.seed);

const percent = (share: number): string => (100 * share).toFixed(1);
const withInterval = (share: number): string => {
  const [low, high] = wilsonInterval(Math.round(share * TASKS), TASKS);
  return `${percent(share)} [${percent(low)}, ${percent(high)}]`;
};
const success = renderTable({
  title: "Success on 256 held-out tasks, % [95 % interval]",
  columns: ["seed", "start", "GRPO", "ECHO", "GRPO best (step)", "ECHO best (step)", "ECHO at GRPO's best"],
  rows: runs.map(({ comparison: c }) => [
    String(c.seed),
    withInterval(c.start.success),
    withInterval(c.grpo.success),
    withInterval(c.echo.success),
    `${percent(c.grpo.bestSuccess)} (${c.grpo.bestStep})`,
    `${percent(c.echo.bestSuccess)} (${c.echo.bestStep})`,
    c.echoReachesGrpoBestAt === undefined ? `not in ${c.steps} steps` : `step ${c.echoReachesGrpoBestAt}`,
  ]),
  notes: [],
});
const nll = renderTable({
  title: "Observation nll on 256 trajectories of the scripted expert, nats per token",
  columns: ["seed", "floor", "start", "GRPO", "ECHO", "(ECHO − floor) / (GRPO − floor)"],
  rows: runs.map(({ comparison: c }) => {
    const floor = c.observationFloor ?? Number.NaN;
    return [
      String(c.seed),
      floor.toFixed(3),
      c.start.observationNll.toFixed(3),
      c.grpo.observationNll.toFixed(3),
      c.echo.observationNll.toFixed(3),
      ((c.echo.observationNll - floor) / (c.grpo.observationNll - floor)).toFixed(2),
    ];
  }),
  notes: [],
});
const cost = renderTable({
  title: "Gradient and cost",
  columns: ["seed", "tokens with a gradient, GRPO %", "ECHO %", "seconds per step, GRPO", "ECHO"],
  rows: runs.map(({ comparison: c }) => [
    String(c.seed),
    percent(c.grpo.gradientTokenShare),
    percent(c.echo.gradientTokenShare),
    c.grpo.secondsPerStep.toFixed(2),
    c.echo.secondsPerStep.toFixed(2),
  ]),
  notes: [],
});
const { commit, machine, build } = runs[0];
const made = `Made by \`npm run quickstart -- --seed N\` and \`npm run report:learning\`; commit ${commit?.slice(0, 10) ?? "unknown"}, ${JSON.stringify(machine)}, ${JSON.stringify(build)}. Raw results: \`${RESULTS}/\`.`;
const page = "docs/learning.md";
writeFileSync(
  page,
  replaceMarked(readFileSync(page, "utf8"), "results", [success, nll, cost, made].join("\n\n")),
);
writeFileSync(
  "docs/learning.svg",
  drawCurves({
    panels: [
      { title: "success on 256 held-out tasks", key: "eval/success", low: 0 },
      {
        title: "observation nll, expert's trajectories (nats)",
        key: "eval/observation_nll",
        low: 0,
        floor: runs[0].comparison.observationFloor,
      },
    ],
    series: ARMS.flatMap((arm) => runs.map(({ lines }) => ({ name: arm.toUpperCase(), lines: lines[arm] }))),
    colors: { GRPO: "#c2410c", ECHO: "#1d4ed8" },
  }),
);
console.log(`${page}, docs/learning.svg and ${RESULTS}/ written from ${runs.length} runs`);
