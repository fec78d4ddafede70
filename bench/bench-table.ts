/** One question, answered with numbers. */
export interface BenchTable {
  title: string;
  columns: string[];
  /** One value per column. Numbers are printed with three significant digits. */
  rows: (string | number)[][];
  /** What a reader must know to judge the numbers. */
  notes: string[];
  /** Lines of the README's table: what, measured, for comparison. */
  summary?: [what: string, measured: string, comparison: string][];
  /** What the picture shows as bars. */
  bars?: { name: string; ms: number; kind: "yardstick" | "ours" | "peer" }[];
  /** What the picture shows as lines: share of an in-place update's bandwidth over the vocabulary. */
  lines?: { name: string; points: [vocabulary: number, share: number][] }[];
}
