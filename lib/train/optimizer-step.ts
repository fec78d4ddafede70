import type { LossOptions } from "../loss/loss-options.js";
import type { LossTotals } from "../loss/loss-totals.js";
import { mergeLossTotals } from "../loss/merge-loss-totals.js";
import type { StepCounts } from "../loss/step-counts.js";
import { stepWeights } from "../loss/step-weights.js";
import type { StepWeightsOptions } from "../loss/step-weights-options.js";
import type { ReferenceModel } from "../model/reference-model.js";
import type { TrainableModel } from "../model/trainable-model.js";
import type { AdamW } from "../optim/adamw.js";

/** What one optimiser step did. */
export interface OptimizerStepOutcome {
  counts: StepCounts;
  totals: LossTotals;
  /** Global norm of the gradient before clipping. */
  gradNorm: number;
  learningRate: number;
  /** The gradient was not finite and no weight was changed. */
  skipped: boolean;
}

/** One optimiser step: weights of the whole step, gradient by micro-batches, AdamW. */
export async function optimizerStep(
  learner: {
    model: TrainableModel;
    /** For a KL penalty. */
    reference?: ReferenceModel;
    optimizer: AdamW;
    learningRate: number;
    microBatchTokens: number;
  },
  weights: StepWeightsOptions,
  loss: LossOptions,
): Promise<OptimizerStepOutcome> {
  const { model, reference, optimizer, learningRate } = learner;
  const { temperature = 1 } = loss;
  const step = stepWeights(weights);
  // A sequence is never split, so one longer than the limit gets a pass of its own.
  const longest = weights.sequences.reduce((most, { ids }) => Math.max(most, ids.length), 0);
  model.zeroGradients();
  const parts: LossTotals[] = [];
  for (const micro of step.microBatches({ maxTokens: Math.max(longest, learner.microBatchTokens) })) {
    const referenceLogprobs = await reference?.logprobs(micro, { temperature });
    parts.push(await model.forwardBackward({ ...micro, rows: { ...micro.rows, referenceLogprobs } }, loss));
    // Native calls hold the thread: signals and timers get their turn here.
    await new Promise((resolve) => setImmediate(resolve));
  }
  const { gradNorm, skipped } = optimizer.step({ learningRate });
  model.parametersChanged();
  return { counts: step.counts, totals: mergeLossTotals(parts), gradNorm, learningRate, skipped };
}
