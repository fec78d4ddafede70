import { ArgumentError } from "../errors/argument-error.js";
import { ROLE_CODE } from "../tokens/role-code.js";
import { checkStepOptions } from "./check-step-options.js";
import type { MicroBatch } from "./micro-batch.js";
import { packMicroBatch } from "./pack-micro-batch.js";
import type { SequenceWeights } from "./sequence-weights.js";
import type { StepCounts } from "./step-counts.js";
import type { StepWeightsOptions } from "./step-weights-options.js";
import { type SequenceTally, tallySequence } from "./tally-sequence.js";

/** The weights of one optimiser step, ready to be sliced into micro-batches that add up to it. */
export interface StepWeights {
  readonly counts: StepCounts;
  /** Weights of sequence `index`, by token (not yet shifted to rows). */
  sequenceWeights(index: number): SequenceWeights;
  /**
   * Packs the sequences, whole and in order, into as few consecutive micro-batches of at most `maxTokens` rows as that order allows.
   * @throws ArgumentError ERR_OUT_OF_RANGE when maxTokens is no positive integer or a sequence is longer.
   */
  microBatches(options: { maxTokens: number }): MicroBatch[];
}

/**
 * Weighs one optimiser step: the objective of ECHO with its normalisers counted over whole sequences of the whole step.
 *
 *     L = 1/N Σ_i [ 1/|A_i| Σ_{t in A_i} -min(ρ_t Adv_i, clip(ρ_t) Adv_i)  +  λ/|O_i| Σ_{t in O'_i} -log p(x_t | x_<t) ]
 *
 * A sequence with |A_i| = 0 or |O_i| = 0 contributes exactly 0 to that term and stays in N. O'_i are the target tokens: observations,
 * unless `observationTargets` says otherwise. |O_i| counts observations and warnings whatever the targets are.
 * The sequences' arrays are read again by `microBatches`; leave them unchanged until then.
 *
 * @throws ArgumentError on anything that would make a weight wrong: empty step, lengths, unknown roles, advantages that are not
 * finite, missing `oldLogprobs`, flat masks, a negative λ.
 */
export function stepWeights(options: StepWeightsOptions): StepWeights {
  checkStepOptions(options);
  const { sequences, aggregation = "sequence", maxLength = 0, observationDenominator = "all" } = options;
  const epsilon = options.observationEpsilon ?? 0;
  const lambda = (options.lambda ?? 0.05) + 0; // -0 would be a weight with a sign
  const imitation = options.objective === "imitation";
  const n = sequences.length;
  const tallies = sequences.map((_, index) => tallySequence(options, index));
  const total = (field: "actions" | "targets" | "dropped" | "warnings"): number =>
    tallies.reduce((sum, each) => sum + each[field], 0);
  const allActions = total("actions");
  const allTargets = total("targets");

  const actionWeight = (each: SequenceTally): number => {
    if (each.actions === 0 || options.envOnly) return 0;
    if (aggregation === "token") return 1 / allActions;
    if (aggregation === "constant") return 1 / (n * maxLength);
    return 1 / (n * each.actions);
  };
  const observationWeight = (each: SequenceTally): number => {
    if (each.targets === 0) return 0;
    if (observationDenominator === "token") return lambda / (allTargets + epsilon);
    if (observationDenominator === "selected") return lambda / (n * (each.targets + epsilon));
    return lambda / (n * (each.answered + epsilon));
  };
  const sequenceWeights = (index: number): SequenceWeights => {
    const { roles } = sequences[index];
    const { factors } = tallies[index];
    const forActions = actionWeight(tallies[index]);
    const forObservations = observationWeight(tallies[index]);
    const action = new Float64Array(roles.length);
    const observation = new Float64Array(roles.length);
    for (let t = 1; t < roles.length; t++) {
      if (roles[t] === ROLE_CODE.action) action[t] = forActions;
      else observation[t] = forObservations * factors[t];
    }
    return { action, observation };
  };

  const tokens = sequences.reduce((sum, { ids }) => sum + ids.length, 0);
  const gradientTokens = tallies.reduce((sum, each, index) => {
    const acts = actionWeight(each) !== 0 && (imitation || sequences[index].advantage !== 0);
    return sum + (acts ? each.actions : 0) + (observationWeight(each) !== 0 ? each.targets : 0);
  }, 0);
  const counts: StepCounts = {
    sequences: n,
    tokens,
    actionTokens: allActions,
    observationTokens: allTargets,
    droppedObservationTokens: total("dropped"),
    warningTokens: total("warnings"),
    sequencesWithoutActions: tallies.filter((each) => each.actions === 0).length,
    sequencesWithoutObservations: tallies.filter((each) => each.answered === 0).length,
    gradientTokens,
    gradientTokenShare: gradientTokens / tokens,
  };

  const microBatches = ({ maxTokens }: { maxTokens: number }): MicroBatch[] => {
    if (!Number.isInteger(maxTokens) || maxTokens <= 0)
      throw new ArgumentError(
        "ERR_OUT_OF_RANGE",
        `[microBatches] maxTokens is out of range: expected a positive integer, got ${maxTokens}. Correct it.`,
      );
    for (const [index, { ids }] of sequences.entries())
      if (ids.length > maxTokens)
        throw new ArgumentError(
          "ERR_OUT_OF_RANGE",
          `[microBatches] sequences[${index}] is too long: expected at most ${maxTokens} tokens, got ${ids.length}. Raise maxTokens or limit the rollouts; sequences are never split.`,
        );
    const packed: MicroBatch[] = [];
    for (let first = 0; first < sequences.length; ) {
      let end = first;
      let rows = 0;
      while (end < sequences.length && rows + sequences[end].ids.length <= maxTokens)
        rows += sequences[end++].ids.length;
      packed.push(packMicroBatch(options, sequenceWeights, first, end));
      first = end;
    }
    return packed;
  };
  return { counts, sequenceWeights, microBatches };
}
