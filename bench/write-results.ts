import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { BenchTable } from "./bench-table.js";
import { drawLoss } from "./draw-loss.js";
import type { Machine } from "./machine.js";
import { renderSpeed } from "./render-speed.js";
import { renderTable } from "./render-table.js";
import { replaceMarked } from "./replace-marked.js";

/** The whole of the benchmarks, as it is stored. */
export interface BenchResults {
  date: string;
  machine: Machine & { loadAverageAfter: number };
  tables: BenchTable[];
}

/** Puts results into the documents below `root`: tables, picture and the README's table. @returns what was written. */
export function writeResults(results: BenchResults, root: string): string[] {
  const { date, machine, tables } = results;
  const {
    commit = "unknown",
    cores,
    cpu,
    isa,
    loadAverage,
    loadAverageAfter,
    memoryGiB,
    node,
    threads,
  } = machine;
  const measured = `Measured ${date} at commit ${commit}: ${cpu}, ${cores} cores, ${memoryGiB} GiB; Node ${node}; ${isa} tier, ${threads} threads; load average ${loadAverage} before and ${loadAverageAfter} after.`;
  const written: string[] = [];
  const write = (path: string, content: (old: string) => string): void => {
    const file = join(root, path);
    writeFileSync(file, content(path.endsWith(".md") ? readFileSync(file, "utf8") : ""));
    written.push(path);
  };
  const picture = drawLoss(tables);
  mkdirSync(join(root, "docs", "images"), { recursive: true });
  if (picture !== undefined) write("docs/images/loss.svg", () => picture);
  const shown =
    picture === undefined
      ? []
      : ["![the loss beside its peers, and its share of memory bandwidth](images/loss.svg)", ""];
  const text = [measured, "", ...shown, ...tables.map(renderTable)].join("\n");
  write("docs/benchmarks.md", (old) => replaceMarked(old, "results", text));
  write("README.md", (old) => replaceMarked(old, "speed", renderSpeed(results)));
  return written;
}
