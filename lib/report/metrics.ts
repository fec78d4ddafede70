/** Values of one step by key; docs/metrics.md documents every key. A key that was not measured is absent, never 0. */
export type Metrics = Record<string, number | boolean>;
