import { ROLE_CODE } from "../tokens/role-code.js";
import type { LossRows } from "./loss-rows.js";
import type { MicroBatch } from "./micro-batch.js";
import type { SequenceWeights } from "./sequence-weights.js";
import type { StepWeightsOptions } from "./step-weights-options.js";

/** Lays sequences first .. end - 1 of a step end to end and shifts everything about a token to the row that predicts it. */
export function packMicroBatch(
  options: StepWeightsOptions,
  sequenceWeights: (index: number) => SequenceWeights,
  first: number,
  end: number,
): MicroBatch {
  const imitation = options.objective === "imitation";
  const sequences = options.sequences.slice(first, end);
  const length = sequences.reduce((sum, { ids }) => sum + ids.length, 0);
  const ids = new Int32Array(length);
  const cuSeqLens = new Int32Array(sequences.length + 1);
  const rows: LossRows = {
    targets: new Int32Array(length),
    actionWeights: new Float32Array(length),
    observationWeights: new Float32Array(length),
    advantages: new Float32Array(length),
  };
  if (imitation || options.onPolicy || options.envOnly) rows.onPolicy = true;
  else rows.oldLogprobs = new Float32Array(length);
  if (!imitation && sequences[0].samplerLogprobs) rows.samplerLogprobs = new Float32Array(length);

  let offset = 0;
  for (const [i, sequence] of sequences.entries()) {
    const weights = sequenceWeights(first + i);
    ids.set(sequence.ids, offset);
    // Row t - 1 scores token t; the last row of the sequence keeps weight 0, as its next token is another sequence's.
    for (let t = 1; t < sequence.ids.length; t++) {
      const row = offset + t - 1;
      rows.targets[row] = sequence.ids[t];
      rows.actionWeights[row] = weights.action[t];
      rows.observationWeights[row] = weights.observation[t];
      if (sequence.roles[t] !== ROLE_CODE.action) continue;
      rows.advantages[row] = imitation ? 1 : sequence.advantage;
      if (rows.oldLogprobs && sequence.oldLogprobs) rows.oldLogprobs[row] = sequence.oldLogprobs[t];
      if (rows.samplerLogprobs && sequence.samplerLogprobs)
        rows.samplerLogprobs[row] = sequence.samplerLogprobs[t];
    }
    offset += sequence.ids.length;
    cuSeqLens[i + 1] = offset;
  }
  return {
    ids,
    cuSeqLens,
    rows,
    sequenceIndices: Int32Array.from({ length: sequences.length }, (_, i) => first + i),
  };
}
