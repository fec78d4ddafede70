// npm run report:gradients -- <model directory> [family]
// How the two terms of the objective pull at a policy: size of each one's gradient, how much of it is signal, and the angle between them.

import { stepWeights } from "../lib/loss/step-weights.js";
import type { StepWeightsOptions } from "../lib/loss/step-weights-options.js";
import { collectRollouts } from "../lib/train/collect-rollouts.js";
import { parseConfig } from "../lib/train/config/parse-config.js";
import { openParts } from "../lib/train/open-parts.js";
import { scoreGroups } from "../lib/train/score-groups.js";

const [path, family = "tinyterm/find"] = process.argv.slice(2);
if (path === undefined) throw new Error("[report:gradients] expected a model directory, got none.");

/** Minibatches of 64 rollouts whose gradients are compared. */
const PARTS = 8;
const config = parseConfig(
  {
    algorithm: "echo",
    out: "unused",
    seed: 7,
    steps: 1,
    model: { path },
    tasks: { family },
    tasksPerStep: 32,
    concurrency: 128,
  },
  "report:gradients",
);
const parts = await openParts(config);
type Gradient = Float64Array[];

try {
  const groups = await collectRollouts({ config, parts }, 1, {});
  const rollouts = scoreGroups(groups, { normalize: "std" }).flat();
  const sequences = rollouts.map(({ sequence }) => sequence);
  const gradient = async (
    options: Omit<StepWeightsOptions, "sequences">,
    share: number,
  ): Promise<Gradient> => {
    const part = sequences.slice(
      Math.floor((share * sequences.length) / PARTS),
      Math.floor(((share + 1) * sequences.length) / PARTS),
    );
    const step = stepWeights({ ...options, sequences: part, onPolicy: true });
    parts.model.zeroGradients();
    for (const micro of step.microBatches({ maxTokens: config.microBatchTokens }))
      await parts.model.forwardBackward(micro, { temperature: 1 });
    return parts.model.parameters().map(({ grad }) => Float64Array.from(grad));
  };
  const policy: Gradient[] = [];
  const observation: Gradient[] = [];
  for (let share = 0; share < PARTS; share++) {
    policy.push(await gradient({ lambda: 0 }, share));
    observation.push(await gradient({ lambda: 1, envOnly: true }, share));
  }
  const rewards = groups.flat().map(({ reward }) => reward ?? 0);
  const alike = groups.filter((group) => group.every(({ reward }) => reward === group[0].reward));
  console.log(
    JSON.stringify({
      model: path,
      family,
      rollouts: sequences.length,
      success: rewards.reduce((sum, reward) => sum + reward, 0) / rewards.length,
      groupsWithoutGradient: alike.length / groups.length,
      policy: describe(policy),
      observation: describe(observation),
      cosine: cosine(mean(policy), mean(observation)),
    }),
  );
} finally {
  await parts.dispose();
}

/**
 * Norm of a minibatch's gradient and of its expectation: the mean product of two minibatches' gradients is an unbiased estimate of the
 * latter's square.
 */
function describe(gradients: Gradient[]): { norm: number; signalNorm: number } {
  const squares = gradients.map((g) => dot(g, g));
  const products = gradients.flatMap((a, i) => gradients.slice(0, i).map((b) => dot(a, b)));
  const average = (values: number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
  return { norm: Math.sqrt(average(squares)), signalNorm: Math.sqrt(Math.max(0, average(products))) };
}

function mean(gradients: Gradient[]): Gradient {
  return gradients[0].map((tensor, i) =>
    tensor.map((_, j) => gradients.reduce((sum, g) => sum + g[i][j], 0) / gradients.length),
  );
}

function dot(a: Gradient, b: Gradient): number {
  let sum = 0;
  for (const [i, tensor] of a.entries()) for (const [j, value] of tensor.entries()) sum += value * b[i][j];
  return sum;
}

function cosine(a: Gradient, b: Gradient): number {
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}
