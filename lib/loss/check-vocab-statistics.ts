import { ArgumentError } from "../errors/argument-error.js";
import { checkRows } from "./check-rows.js";
import type { VocabStatistics } from "./vocab-statistics.js";

function checkDoubles(where: string, name: string, value: unknown, rows: number): void {
  if (!(value instanceof Float64Array))
    throw new ArgumentError(
      "ERR_INVALID_DTYPE",
      `[${where}] ${name} has the wrong type: expected Float64Array [T].`,
    );
  if (value.length !== rows)
    throw new ArgumentError(
      "ERR_INVALID_SHAPE",
      `[${where}] ${name} has the wrong length: expected ${rows} [T], got ${value.length}.`,
    );
}

/** @throws ArgumentError as `checkRows` when they are not statistics of `rows` rows. */
export function checkVocabStatistics(where: string, statistics: VocabStatistics, rows: number): void {
  if (typeof (statistics as unknown) !== "object" || (statistics as unknown) === null)
    throw new ArgumentError(
      "ERR_INVALID_TYPE",
      `[${where}] statistics are unusable: expected what vocabParallelStatistics returned, got ${String(statistics)}.`,
    );
  checkRows(where, "statistics.max", statistics.max, Float32Array, rows, "[T]");
  checkRows(where, "statistics.targetLogits", statistics.targetLogits, Float32Array, rows, "[T]");
  checkDoubles(where, "statistics.sum", statistics.sum, rows);
  if (statistics.weighted !== null) checkDoubles(where, "statistics.weighted", statistics.weighted, rows);
}
