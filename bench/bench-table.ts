/** One question, answered with numbers. */
export interface BenchTable {
  title: string;
  columns: string[];
  /** One value per column. Numbers are printed with three significant digits. */
  rows: (string | number)[][];
  /** What a reader must know to judge the numbers. */
  notes: string[];
}
