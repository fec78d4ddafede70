import type { CheckedLossRows } from "./check-loss-rows.js";

/** The targets of action rows, [T]; -1, which skips a row, on all others. */
export function actionTargets({ targets, actionWeights }: CheckedLossRows): Int32Array {
  return targets.map((target, row) => (actionWeights[row] === 0 ? -1 : target));
}
