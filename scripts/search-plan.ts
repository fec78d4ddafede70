/** A setting that `npm run search:tinyterm` tries: a recipe of examples/tinyterm with something changed. */
export interface Variant {
  /** Of its results, `bench/results/tinyterm/search/<name>-<seed>.*`. */
  name: string;
  /** How docs/tinyterm.md calls it. */
  label: string;
  /** The arm of the study that it is compared with, on the same seeds. */
  recipe: "grpo" | "echo";
  /** What replaces the recipe's keys; objects are merged. */
  changes?: Readonly<Record<string, unknown>>;
  /** Starts from a starting policy of this size, made for it, instead of the shipped one. */
  size?: { hiddenSize: number; layers: number };
  seeds: readonly number[];
}

const two = [1, 2];
const three = [1, 2, 3];

export const SEARCH: readonly Variant[] = [
  { name: "lambda-0.2", label: "λ = 0.2", recipe: "echo", changes: { lambda: 0.2 }, seeds: three },
  { name: "lambda-0.5", label: "λ = 0.5", recipe: "echo", changes: { lambda: 0.5 }, seeds: two },
  {
    name: "decay-grpo",
    label: "learning rate falling to 0",
    recipe: "grpo",
    changes: { optimizer: { schedule: "linear" } },
    seeds: three,
  },
  {
    name: "minibatch-32",
    label: "minibatches of 32",
    recipe: "grpo",
    changes: { minibatchSequences: 32 },
    seeds: two,
  },
  {
    name: "curriculum-grpo",
    label: "easy tasks first, all after step 20",
    recipe: "grpo",
    changes: { tasks: { curriculumSteps: 20 } },
    seeds: two,
  },
  {
    name: "small-grpo",
    label: "half the width",
    recipe: "grpo",
    size: { hiddenSize: 64, layers: 4 },
    seeds: [1],
  },
  {
    name: "small-echo",
    label: "half the width",
    recipe: "echo",
    size: { hiddenSize: 64, layers: 4 },
    seeds: [1],
  },
  {
    name: "deep-grpo",
    label: "six layers instead of four",
    recipe: "grpo",
    size: { hiddenSize: 128, layers: 6 },
    seeds: [1],
  },
  {
    name: "deep-echo",
    label: "six layers instead of four",
    recipe: "echo",
    size: { hiddenSize: 128, layers: 6 },
    seeds: [1],
  },
];
