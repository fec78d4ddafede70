import { ArgumentError } from "../errors/argument-error.js";
import { type GradientCase, gradientCases } from "./gradient-cases.js";
import type { LossOptions } from "./loss-options.js";
import type { LossRows } from "./loss-rows.js";
import { type ReferenceResult, referenceLoss } from "./reference.js";

/** What a loss under test is given. It may overwrite the logits. */
export interface CheckedLossInput {
  /** [T, V]. */
  logits: Float32Array;
  rows: LossRows;
  vocabSize: number;
  options: LossOptions;
}

/** A loss under test: `loss` is the sum of both terms, `gradient` its derivative by the logits, [T, V]. */
export type CheckedLoss = (input: CheckedLossInput) => { loss: number; gradient: ArrayLike<number> };

/** One line of the table. Errors are relative to the size of the rows' weights; `Infinity` where a value is NaN or must be exactly 0 and is not. */
export interface GradientCheck {
  case: string;
  lossError: number;
  gradientError: number;
  /** The float64 reference against its own central differences; NaN where the loss has none. */
  differenceError: number;
  passed: boolean;
}

const DIFFERENCE_TOLERANCE = 1e-5;
const STEP = 1e-4;

/** The largest |G| that the row's weights allow: the scale of its gradient, also where G itself cancels. */
function rowScale(test: GradientCase, expected: ReferenceResult, row: number): number {
  const { rows, options } = test;
  const action = rows.actionWeights[row] * Math.abs(rows.advantages[row]);
  const clamp = options.logRatioClamp === false ? Infinity : (options.logRatioClamp ?? 20);
  const old = rows.oldLogprobs?.[row] ?? expected.logprobs[row];
  const ratio = action === 0 ? 1 : Math.exp(Math.min(expected.logprobs[row] - old, clamp));
  return (action * Math.max(1, ratio) + rows.observationWeights[row]) / (options.temperature ?? 1);
}

function error(actual: number, expected: number, scale: number): number {
  if (Object.is(actual, expected) || actual === expected) return 0;
  const relative = Math.abs(actual - expected) / scale;
  return Number.isNaN(relative) ? Infinity : relative;
}

function gradientError(test: GradientCase, expected: ReferenceResult, gradient: ArrayLike<number>): number {
  let worst = 0;
  for (let row = 0; row < test.rows.targets.length; row++) {
    const scale = rowScale(test, expected, row);
    for (let j = 0; j < test.vocabSize; j++) {
      const at = row * test.vocabSize + j;
      worst = Math.max(worst, error(gradient[at], expected.gradient[at], scale));
    }
  }
  return worst;
}

function differenceError(test: GradientCase, expected: ReferenceResult): number {
  if (!test.differentiable) return Number.NaN;
  const { vocabSize, options } = test;
  const stride = vocabSize > 64 ? 97 : 1;
  let worst = 0;
  for (let row = 0; row < test.rows.targets.length; row++) {
    const rows = {
      targets: test.rows.targets.subarray(row, row + 1),
      actionWeights: test.rows.actionWeights.subarray(row, row + 1),
      observationWeights: test.rows.observationWeights.subarray(row, row + 1),
      advantages: test.rows.advantages.subarray(row, row + 1),
      // On-policy the ratio is 1 because the old policy is this one, held fixed: differences must hold it fixed too.
      oldLogprobs: (test.rows.oldLogprobs ?? expected.logprobs).subarray(row, row + 1),
    };
    if (rows.actionWeights[0] === 0 && rows.observationWeights[0] === 0) continue;
    const logits = Float64Array.from(test.logits.subarray(row * vocabSize, (row + 1) * vocabSize));
    const scale = rowScale(test, expected, row);
    for (let j = 0; j < vocabSize; j++) {
      const x = logits[j];
      if (!Number.isFinite(x) || (j % stride !== 0 && j !== rows.targets[0])) continue;
      logits[j] = x + STEP;
      const above = referenceLoss({ logits, rows, vocabSize, options }).loss;
      logits[j] = x - STEP;
      const below = referenceLoss({ logits, rows, vocabSize, options }).loss;
      logits[j] = x;
      const slope = (above - below) / (2 * STEP);
      worst = Math.max(worst, error(slope, expected.gradient[row * vocabSize + j], scale));
    }
  }
  return worst;
}

/**
 * Compares a loss with the float64 reference on small adversarial inputs: both sides of every clip edge, -Infinity logits, shifts of
 * 1e6, empty sets, a group without contrast, mixed roles, NaN where nothing may be read. Meant for your own trainer's loss too.
 *
 * @param lossFn called once per case with fresh arrays.
 * @param options.tolerance largest error that passes. Default 1e-5: float32 arithmetic without avoidable loss.
 * @throws ArgumentError ERR_INVALID_SHAPE when a gradient is not [T, V].
 */
export function checkGradient(lossFn: CheckedLoss, options: { tolerance?: number } = {}): GradientCheck[] {
  const { tolerance = 1e-5 } = options;
  return gradientCases().map((test) => {
    const expected = referenceLoss(test);
    const { loss, gradient } = lossFn({
      logits: test.logits.slice(),
      rows: structuredClone(test.rows),
      vocabSize: test.vocabSize,
      options: { ...test.options },
    });
    if (gradient.length !== test.logits.length)
      throw new ArgumentError(
        "ERR_INVALID_SHAPE",
        `[checkGradient] the gradient of case "${test.name}" does not match the logits: expected ${test.logits.length} values, got ${gradient.length}. Return one per logit.`,
      );
    let lossScale = Math.abs(expected.loss);
    for (let row = 0; row < test.rows.targets.length; row++) lossScale += rowScale(test, expected, row);
    const errors = {
      lossError: error(loss, expected.loss, lossScale),
      gradientError: gradientError(test, expected, gradient),
      differenceError: differenceError(test, expected),
    };
    const passed =
      errors.lossError <= tolerance &&
      errors.gradientError <= tolerance &&
      !(errors.differenceError > DIFFERENCE_TOLERANCE);
    return { case: test.name, ...errors, passed };
  });
}
