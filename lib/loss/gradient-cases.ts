import { CounterRandom } from "../random/counter-random.js";
import { deriveSeed } from "../random/derive-seed.js";
import type { LossOptions } from "./loss-options.js";
import type { LossRows } from "./loss-rows.js";
import { referenceLoss } from "./reference.js";
import { stepWeights } from "./step-weights.js";
import type { StepWeightsOptions } from "./step-weights-options.js";

/** One adversarial input of `checkGradient`. */
export interface GradientCase {
  name: string;
  /** [T, V]. */
  logits: Float32Array;
  rows: LossRows;
  vocabSize: number;
  options: LossOptions;
  /** False where the loss has no finite differences: infinite or beyond the precision of any step. */
  differentiable: boolean;
}

interface Recipe {
  name: string;
  vocabSize?: number;
  /** One string of role letters per sequence, with its advantage. */
  sequences: readonly [roles: string, advantage: number][];
  step?: Partial<StepWeightsOptions>;
  options?: LossOptions;
  /** Ratios of the action rows, cyclically; they decide `oldLogprobs`. Default: near 1. */
  ratios?: readonly number[];
  /** Changes one row's logits, given its index and target. */
  edit?: (logits: Float32Array, row: number, target: number) => void;
  /** NaN in every row without weight. */
  poison?: boolean;
  differentiable?: boolean;
}

const MIXED: readonly [string, number][] = [
  ["ccaaacoooaawwooc", 1.5],
  ["cac", -0.7],
  ["ccooowc", 0.4],
  ["caaaaa", -1.2],
  ["cccc", 1],
  ["cwac", 0.9],
];
const EDGES: readonly [string, number][] = [
  ["caaaaaaa", 1.3],
  ["caaaaaaa", -1.3],
];

function shift(by: number): Recipe["edit"] {
  return (logits) => {
    for (let j = 0; j < logits.length; j++) logits[j] += by;
  };
}

const RECIPES: readonly Recipe[] = [
  { name: "mixed roles, ragged", sequences: MIXED },
  { name: "on-policy", sequences: MIXED, step: { onPolicy: true } },
  { name: "temperature 0.8", sequences: MIXED, options: { temperature: 0.8 } },
  { name: "lambda 0, NaN on weightless rows", sequences: MIXED, step: { lambda: 0 }, poison: true },
  { name: "env-only, NaN on weightless rows", sequences: MIXED, step: { envOnly: true }, poison: true },
  { name: "all-fail group", sequences: MIXED.map(([roles]) => [roles, 0]) },
  { name: "imitation", sequences: MIXED, step: { objective: "imitation" } },
  { name: "clip edges from both sides", sequences: EDGES, ratios: [0.799, 0.801, 1, 1.199, 1.201, 0.1, 9] },
  {
    name: "asymmetric clip edges",
    sequences: EDGES,
    options: { epsilonLow: 0.1, epsilonHigh: 0.28 },
    ratios: [0.899, 0.901, 1, 1.279, 1.281, 0.1, 9],
  },
  { name: "log ratios beyond the clamp", sequences: EDGES, ratios: [1, Math.exp(-20.5), Math.exp(20.5)] },
  {
    name: "log ratio clamp off",
    sequences: EDGES,
    options: { logRatioClamp: false },
    ratios: [1, Math.exp(-20.5), Math.exp(20.5)],
  },
  {
    name: "no actions",
    sequences: [
      ["cooow", 1],
      ["co", 1],
    ],
    poison: true,
  },
  { name: "no observations", sequences: [["caac", 1]], poison: true },
  {
    name: "nothing weighs, all NaN",
    sequences: [
      ["cccc", 1],
      ["cwwc", 1],
    ],
    poison: true,
  },
  {
    name: "-Infinity logits",
    sequences: MIXED,
    edit: (logits, row, target) => {
      for (let j = 0; j < logits.length; j++) if (j !== target && (j + row) % 3 === 0) logits[j] = -Infinity;
    },
  },
  {
    name: "-Infinity everywhere but the target",
    sequences: MIXED,
    edit: (logits, _row, target) => {
      for (let j = 0; j < logits.length; j++) if (j !== target) logits[j] = -Infinity;
    },
  },
  {
    name: "-Infinity at an observed target",
    sequences: [["cooo", 1]],
    edit: (logits, row, target) => {
      if (row === 1) logits[target] = -Infinity;
    },
    differentiable: false,
  },
  { name: "shifted by +1e6", sequences: MIXED, edit: shift(1e6) },
  { name: "shifted by -1e6", sequences: MIXED, edit: shift(-1e6) },
  {
    name: "shifted by -1e4, temperature 0.8",
    sequences: MIXED,
    edit: shift(-1e4),
    options: { temperature: 0.8 },
  },
  {
    name: "finite extremes",
    sequences: MIXED,
    edit: (logits, row) => {
      logits[row % logits.length] = 3e38;
      logits[(row + 1) % logits.length] = -3e38;
    },
    step: { onPolicy: true, lambda: 0 },
    differentiable: false,
  },
  {
    name: "confident targets",
    sequences: MIXED,
    edit: (logits, row, target) => {
      logits[target] = Math.max(...logits) + [2, 5, 8, 16][row % 4];
    },
  },
  {
    name: "hopeless targets",
    sequences: MIXED,
    edit: (logits, row, target) => {
      logits[target] = Math.min(...logits) - [5, 20, 60, 200][row % 4];
    },
  },
  { name: "all logits equal", sequences: MIXED, edit: (logits) => void logits.fill(-1.5) },
  { name: "vocabulary of 1", vocabSize: 1, sequences: MIXED },
  { name: "vocabulary of 1031", vocabSize: 1031, sequences: [["caaoowac", -1]] },
];

function build(recipe: Recipe): GradientCase {
  const { name, vocabSize = 7, options = {}, ratios } = recipe;
  const random = new CounterRandom(deriveSeed(0, `gradient case ${name}`));
  const sequences = recipe.sequences.map(([roles, advantage]) => ({
    ids: Int32Array.from({ length: roles.length }, () => random.integer(vocabSize)),
    roles: Uint8Array.from(roles, (letter) => "caow".indexOf(letter)),
    advantage,
    oldLogprobs: new Float32Array(roles.length),
  }));
  const [{ ids, rows }] = stepWeights({ lambda: 0.3, ...recipe.step, sequences }).microBatches({
    maxTokens: 1e6,
  });
  const logits = Float32Array.from({ length: ids.length * vocabSize }, () => 8 * random.next() - 4);
  for (let row = 0; row < ids.length; row++)
    recipe.edit?.(logits.subarray(row * vocabSize, (row + 1) * vocabSize), row, rows.targets[row]);

  if (rows.oldLogprobs) {
    const { logprobs } = referenceLoss({ logits, rows: { ...rows, onPolicy: true }, vocabSize, options });
    let action = 0;
    for (let row = 0; row < ids.length; row++) {
      if (rows.actionWeights[row] === 0) continue;
      const ratio = ratios ? ratios[action++ % ratios.length] : 0.85 + 0.3 * random.next();
      rows.oldLogprobs[row] = logprobs[row] - Math.log(ratio);
    }
  }
  if (recipe.poison)
    for (let row = 0; row < ids.length; row++)
      if (rows.actionWeights[row] === 0 && rows.observationWeights[row] === 0)
        logits.fill(Number.NaN, row * vocabSize, (row + 1) * vocabSize);
  return { name, logits, rows, vocabSize, options, differentiable: recipe.differentiable ?? true };
}

/** Small inputs at which losses go wrong, the same on every machine. */
export function gradientCases(): GradientCase[] {
  return RECIPES.map(build);
}
