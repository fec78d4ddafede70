import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { loadavg } from "node:os";
import { join } from "node:path";
import type { BenchTable } from "./bench-table.js";
import { benchDecoder } from "./decoder.js";
import { benchEventLoop } from "./event-loop.js";
import { benchGemm } from "./gemm.js";
import { benchLoss } from "./loss.js";
import { machine } from "./machine.js";
import { benchOptimizer } from "./optimizer.js";
import { renderTable } from "./render-table.js";
import { replaceMarked } from "./replace-marked.js";
import { benchSandbox } from "./sandbox.js";
import { benchStep } from "./step.js";

type Bench = () => BenchTable | BenchTable[] | Promise<BenchTable | BenchTable[]>;

const QUESTIONS: Record<string, Bench> = {
  loss: benchLoss,
  "event-loop": benchEventLoop,
  optimizer: benchOptimizer,
  gemm: benchGemm,
  decoder: benchDecoder,
  sandbox: benchSandbox,
  step: benchStep,
};

const here = import.meta.dirname;
const asked = process.argv.slice(2);
const unknown = asked.filter((name) => !Object.hasOwn(QUESTIONS, name));
if (unknown.length > 0) {
  console.error(
    `[bench] unknown benchmark ${unknown.join(", ")}: expected some of ${Object.keys(QUESTIONS).join(", ")}.`,
  );
  process.exit(1);
}

const on = machine();
const { cpu, cores, node, isa, threads, loadAverage } = on;
console.log(
  `${cpu}, ${cores} cores; Node ${node}; ${isa}, ${threads} threads; load average ${loadAverage}\n`,
);
const busy = loadAverage > cores / 2;
if (busy)
  console.log(`The machine is busy (load ${loadAverage} on ${cores} cores): do not trust these numbers.\n`);

const tables: BenchTable[] = [];
for (const name of asked.length > 0 ? asked : Object.keys(QUESTIONS))
  for (const table of [await QUESTIONS[name]()].flat()) {
    tables.push(table);
    console.log(renderTable(table));
  }

// A part is for looking; only the whole is a result.
if (asked.length === 0) {
  const date = new Date().toISOString().slice(0, 10);
  const loadAverageAfter = Math.round(loadavg()[0] * 100) / 100;
  const path = join(here, "results", `${date}-cpu.json`);
  mkdirSync(join(here, "results"), { recursive: true });
  writeFileSync(path, `${JSON.stringify({ date, machine: { ...on, loadAverageAfter }, tables }, null, 2)}\n`);
  const docs = join(here, "..", "docs", "benchmarks.md");
  const measured = `Measured ${date} at commit ${on.commit ?? "unknown"}: ${cpu}, ${cores} cores, ${on.memoryGiB} GiB; Node ${node}; ${isa} tier, ${threads} threads; load average ${loadAverage} before and ${loadAverageAfter} after.`;
  const text = readFileSync(docs, "utf8");
  writeFileSync(docs, replaceMarked(text, "results", [measured, "", ...tables.map(renderTable)].join("\n")));
  console.log(`Wrote ${path} and docs/benchmarks.md.`);
}
