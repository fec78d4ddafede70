// npm run bench:gpu -- <directory>: stores what tests/gpu/run.sh left there as bench/results/<date>-gpu.json and puts it into docs/benchmarks.md.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readGpuResults } from "./gpu-results.js";
import { gpuTables } from "./gpu-tables.js";
import { renderTable } from "./render-table.js";
import { replaceMarked } from "./replace-marked.js";

const root = join(import.meta.dirname, "..");
const [directory] = process.argv.slice(2);
if (directory === undefined) {
  console.error(
    "[bench:gpu] which results: expected the directory that tests/gpu/run.sh wrote to, got none.",
  );
  process.exit(2);
}
const results = readGpuResults(directory);
const stored = join(root, "bench/results", `${results.date}-gpu.json`);
mkdirSync(join(root, "bench/results"), { recursive: true });
writeFileSync(stored, `${JSON.stringify(results, null, 1)}\n`);
const page = join(root, "docs/benchmarks.md");
const measured = `Measured ${results.date} at commit ${results.commit}.`;
const text = [measured, "", ...gpuTables(results).map(renderTable)].join("\n");
writeFileSync(page, replaceMarked(readFileSync(page, "utf8"), "gpu", text));
console.log(`Wrote ${stored} and docs/benchmarks.md.`);
