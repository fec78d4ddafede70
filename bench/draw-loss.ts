import type { BenchTable } from "./bench-table.js";
export function drawLoss(_tables: readonly BenchTable[]): string | undefined {
  return undefined;
}
