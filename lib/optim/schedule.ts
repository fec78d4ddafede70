/**
 * Learning rate over the steps of a run: from 0 up to the peak in `warmupSteps`, then constant, or down to `finalShare` of the peak at
 * `totalSteps` (linearly or along half a cosine) and constant after.
 */
export type Schedule =
  | { kind: "constant"; peak: number; warmupSteps?: number }
  | {
      kind: "linear" | "cosine";
      peak: number;
      totalSteps: number;
      warmupSteps?: number;
      finalShare?: number;
    };
