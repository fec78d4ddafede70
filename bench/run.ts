import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { loadavg } from "node:os";
import { join } from "node:path";
import type { BenchContext } from "./bench-context.js";
import type { BenchTable } from "./bench-table.js";
import { benchDecoder } from "./decoder.js";
import { benchEventLoop } from "./event-loop.js";
import { benchGemm } from "./gemm.js";
import { benchGrid } from "./grid.js";
import { benchLoss } from "./loss.js";
import { machine } from "./machine.js";
import { benchOptimizer } from "./optimizer.js";
import { renderTable } from "./render-table.js";
import { benchSandbox } from "./sandbox.js";
import { benchStep } from "./step.js";
import { type BenchResults, writeResults } from "./write-results.js";

type Bench = (context: BenchContext) => BenchTable | BenchTable[] | Promise<BenchTable | BenchTable[]>;

const QUESTIONS: Record<string, Bench> = {
  loss: benchLoss,
  grid: benchGrid,
  "event-loop": benchEventLoop,
  optimizer: benchOptimizer,
  gemm: benchGemm,
  decoder: benchDecoder,
  sandbox: benchSandbox,
  step: benchStep,
};

const root = join(import.meta.dirname, "..");
const given = process.argv.slice(2);
const rendered = given[0] === "--render" ? given[1] : undefined;
const quick = given.includes("--quick");
const asked = rendered === undefined ? given.filter((name) => name !== "--quick") : [];
const unknown = asked.filter((name) => !Object.hasOwn(QUESTIONS, name));
if (unknown.length > 0 || (given[0] === "--render" && given.length !== 2)) {
  console.error(
    `[bench] unknown ${unknown.join(", ") || "file"}: expected some of ${Object.keys(QUESTIONS).join(", ")}, with --quick for least effort, or --render <results.json>.`,
  );
  process.exit(1);
}

if (rendered === undefined) await runBenchmarks();
else report(JSON.parse(readFileSync(rendered, "utf8")) as BenchResults);

async function runBenchmarks(): Promise<void> {
  const on = machine();
  const { cpu, cores, node, isa, threads, loadAverage } = on;
  console.log(
    `${cpu}, ${cores} cores; Node ${node}; ${isa}, ${threads} threads; load average ${loadAverage}\n`,
  );
  if (loadAverage > cores / 2)
    console.log(`The machine is busy (load ${loadAverage} on ${cores} cores): do not trust these numbers.\n`);
  if (quick) console.log("Least effort: these numbers are not to be trusted.\n");
  const context: BenchContext = {
    quick,
    effort: (usual) => (quick ? { rounds: 1, minSamples: 1, maxTimeS: 0.001 } : usual),
  };
  const tables: BenchTable[] = [];
  for (const name of asked.length > 0 ? asked : Object.keys(QUESTIONS)) {
    const start = performance.now();
    for (const table of [await QUESTIONS[name](context)].flat()) {
      tables.push(table);
      console.log(renderTable(table));
    }
    console.log(`(${name}: ${Math.round((performance.now() - start) / 1000)} s)\n`);
  }
  // A part is for looking, and so is a quick run; only the whole is a result.
  if (asked.length > 0 || quick) return;
  const date = new Date().toISOString().slice(0, 10);
  const loadAverageAfter = Math.round(loadavg()[0] * 100) / 100;
  const results = { date, machine: { ...on, loadAverageAfter }, tables };
  const path = join(root, "bench", "results", `${date}-cpu.json`);
  mkdirSync(join(root, "bench", "results"), { recursive: true });
  writeFileSync(path, `${JSON.stringify(results, null, 2)}\n`);
  console.log(`Wrote ${path}.`);
  report(results);
}

function report(results: BenchResults): void {
  console.log(`Wrote ${writeResults(results, root).join(", ")}.`);
}
