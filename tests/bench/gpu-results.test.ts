import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { readGpuResults } from "../../bench/gpu-results.js";
import { gpuTables } from "../../bench/gpu-tables.js";
import { renderTable } from "../../bench/render-table.js";

const directory = mkdtempSync(join(tmpdir(), "echo-grpo-gpu-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

it("refuses a directory in which nothing ran", () => {
  expect(() => readGpuResults(directory)).toThrow(/nothing ran: expected .*stages\.jsonl/);
});

it("makes tables of what ran, and of nothing else", () => {
  const stage = (name: string, result: string, seconds: number): string =>
    JSON.stringify({ stage: name, result, seconds });
  writeFileSync(
    join(directory, "stages.jsonl"),
    [stage("loss", "failed", 3), stage("bench", "passed", 9), stage("loss", "passed", 4), ""].join("\n"),
  );
  writeFileSync(join(directory, "run.txt"), "2027-01-02 abc1234\n");
  const bare = readGpuResults(directory);
  expect(bare).toMatchObject({ date: "2027-01-02", commit: "abc1234" });
  expect(gpuTables(bare).map(({ rows }) => rows)).toEqual([
    [
      ["loss", "passed", 4],
      ["bench", "passed", 9],
    ],
  ]);

  const size = { dtype: "bfloat16", vocab: 151936, rows: 7000, masked: 0.5 };
  const speed = { ms: 2, p20: 1.9, p80: 2.2, usefulGBps: 1600, copyGBps: 2000, shareOfCopy: 0.8 };
  writeFileSync(
    join(directory, "loss.json"),
    JSON.stringify({
      device: "Device",
      computeCapability: 90,
      multiprocessors: 132,
      memoryMiB: 143360,
      driver: 13000,
      runtime: 13000,
      measurements: [{ kernel: "loss + gradient", ...size, gradientDtype: "bfloat16", ...speed }],
    }),
  );
  writeFileSync(
    join(directory, "peers.json"),
    JSON.stringify({
      device: "Device",
      torch: "2.13",
      cuda: "13.0",
      absent: { quack: "no module" },
      measurements: [
        { kernel: "echo-grpo, whole call", ...size, ...speed, peakExtraMiB: 1 },
        { kernel: "PyTorch eager", ...size, ...speed, ms: 20, peakExtraMiB: 900 },
        { kernel: "Liger", ...size, error: "out of memory" },
        { kernel: "agreement", ...size },
      ],
    }),
  );
  const [, kernels, peers] = gpuTables(readGpuResults(directory));
  expect(kernels.rows[0]).toEqual([
    "loss + gradient",
    "bfloat16",
    "151,936",
    "7,000",
    "50 %",
    2,
    1.9,
    2.2,
    1600,
    "80 %",
  ]);
  expect(peers.rows.map((row) => [row[0], row[6]])).toEqual([
    ["echo-grpo, whole call", 1],
    ["PyTorch eager", 10],
    ["Liger: out of memory", Number.NaN],
  ]);
  expect(renderTable(peers)).toContain("Missing: quack (no module).");
});
