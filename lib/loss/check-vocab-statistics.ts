import { ArgumentError } from "../errors/argument-error.js";
import { checkRows } from "./check-rows.js";
import type { VocabStatistics } from "./vocab-statistics.js";

/** @throws ArgumentError as `checkRows` when they are not statistics of `rows` rows. */
export function checkVocabStatistics(where: string, statistics: VocabStatistics, rows: number): void {
  if (typeof (statistics as unknown) !== "object" || (statistics as unknown) === null)
    throw new ArgumentError(
      "ERR_INVALID_TYPE",
      `[${where}] statistics are unusable: expected what vocabParallelStatistics returned, got ${String(statistics)}.`,
    );
  checkRows(where, "statistics.max", statistics.max, Float32Array, rows, "[T]");
  checkRows(where, "statistics.targetLogits", statistics.targetLogits, Float32Array, rows, "[T]");
  checkRows(where, "statistics.sum", statistics.sum, Float64Array, rows, "[T]");
  if (statistics.weighted !== null)
    checkRows(where, "statistics.weighted", statistics.weighted, Float64Array, rows, "[T]");
}
