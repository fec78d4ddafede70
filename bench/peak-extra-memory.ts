import { readFileSync, writeFileSync } from "node:fs";

/** The least of several calls: what else the process does in between adds to single ones. */
const CALLS = 3;

/** Bytes that a call needs at most above what the process held before it, by the kernel's count of resident pages; undefined off Linux. */
export function peakExtraMemory(run: () => void): number | undefined {
  let least: number | undefined;
  run();
  for (let call = 0; call < CALLS; call++) {
    try {
      writeFileSync("/proc/self/clear_refs", "5"); // the highest resident size starts anew
      const before = residentBytes("VmRSS");
      run();
      const extra = Math.max(0, residentBytes("VmHWM") - before);
      least = Math.min(least ?? extra, extra);
    } catch {
      return undefined;
    }
  }
  return least;
}

function residentBytes(field: string): number {
  const line = readFileSync("/proc/self/status", "utf8").match(new RegExp(`^${field}:\\s*(\\d+) kB$`, "m"));
  if (!line) throw new Error(`[bench] no ${field} in /proc/self/status.`);
  return Number(line[1]) * 1024;
}
