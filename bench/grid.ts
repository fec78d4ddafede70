import type { BenchTable } from "./bench-table.js";
export function benchGrid(): BenchTable[] {
  return [];
}
