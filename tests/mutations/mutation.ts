/** One way to break the code, and the test file that must not let it pass. */
export interface Mutation {
  /** Of `lib` or `native`. */
  file: string;
  breaks: string;
  /** Stands in the file exactly once. */
  from: string;
  to: string;
  /** A test file below `tests`: vitest, or a native test. */
  red: string;
}

/** Mutations of one file as `[breaks, from, to, red]`. */
export function mutationsOf(file: string, list: readonly [string, string, string, string][]): Mutation[] {
  return list.map(([breaks, from, to, red]) => ({ file, breaks, from, to, red }));
}
