import type { LossRows } from "./loss-rows.js";
import type { PackedSequences } from "./packed-sequences.js";

/** A slice of an optimiser step: whole sequences, with the step's normalisers already in the rows' weights. */
export interface MicroBatch extends PackedSequences {
  rows: LossRows;
  /** Index, within the step's `sequences`, of each packed sequence. */
  sequenceIndices: Int32Array;
}
