import { ArgumentError } from "../errors/argument-error.js";
import { ROLE_CODE } from "../tokens/role-code.js";
import { checkStepOptions } from "./check-step-options.js";
import type { MicroBatch } from "./micro-batch.js";
import { packMicroBatch } from "./pack-micro-batch.js";
import type { SequenceWeights } from "./sequence-weights.js";
import type { StepCounts } from "./step-counts.js";
import type { StepWeightsOptions } from "./step-weights-options.js";

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

interface Tally {
  actions: number;
  /** Target observations: |O'_i|. */
  observations: number;
  dropped: number;
  warnings: number;
  /** Factor of `observationWeight` by token; absent when every one is 1. */
  factors?: Float64Array;
}

function tally(options: StepWeightsOptions, sequenceIndex: number): Tally {
  const { roles } = options.sequences[sequenceIndex];
  const result: Tally = { actions: 0, observations: 0, dropped: 0, warnings: 0 };
  if (options.observationWeight) {
    result.factors = new Float64Array(roles.length);
    for (let start = 0; start < roles.length; start++) {
      if (roles[start] !== ROLE_CODE.observation) continue;
      let end = start + 1;
      while (end < roles.length && roles[end] === ROLE_CODE.observation) end++;
      const factor = options.observationWeight({ sequenceIndex, start, end });
      if (!Number.isFinite(Math.fround(factor)) || factor < 0)
        throw new ArgumentError(
          "ERR_OUT_OF_RANGE",
          `[stepWeights] observationWeight of sequences[${sequenceIndex}] tokens ${start} to ${end - 1} is unusable: expected a finite number >= 0, got ${factor}. Return 1 to keep an observation, 0 to drop it.`,
        );
      result.factors.fill(factor, start, end);
      start = end;
    }
  }
  for (let t = 1; t < roles.length; t++) {
    if (roles[t] === ROLE_CODE.action) result.actions++;
    else if (roles[t] === ROLE_CODE.warning) result.warnings++;
    else if (roles[t] === ROLE_CODE.observation) {
      if (result.factors && result.factors[t] === 0) result.dropped++;
      else result.observations++;
    }
  }
  return result;
}

/**
 * Weighs one optimiser step: the objective of ECHO with its normalisers counted over whole sequences of the whole step.
 *
 *     L = 1/N Σ_i [ 1/|A_i| Σ_{t in A_i} -min(ρ_t Adv_i, clip(ρ_t) Adv_i)  +  λ/|O_i| Σ_{t in O'_i} -log p(x_t | x_<t) ]
 *
 * A sequence with |A_i| = 0 or |O_i| = 0 contributes exactly 0 to that term and stays in N. Warnings count in |O_i| and are never targets.
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
  const tallies = sequences.map((_, index) => tally(options, index));
  const total = (field: "actions" | "observations" | "dropped" | "warnings"): number =>
    tallies.reduce((sum, each) => sum + each[field], 0);
  const allActions = total("actions");
  const allObservations = total("observations");

  const actionWeight = (each: Tally): number => {
    if (each.actions === 0 || options.envOnly) return 0;
    if (aggregation === "token") return 1 / allActions;
    if (aggregation === "constant") return 1 / (n * maxLength);
    return 1 / (n * each.actions);
  };
  const observationWeight = (each: Tally): number => {
    if (each.observations === 0) return 0;
    if (observationDenominator === "token") return lambda / (allObservations + epsilon);
    if (observationDenominator === "selected") return lambda / (n * (each.observations + epsilon));
    return lambda / (n * (each.observations + each.dropped + each.warnings + epsilon));
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
      else if (roles[t] === ROLE_CODE.observation)
        observation[t] = forObservations * (factors ? factors[t] : 1);
    }
    return { action, observation };
  };

  const tokens = sequences.reduce((sum, { ids }) => sum + ids.length, 0);
  const gradientTokens = tallies.reduce((sum, each, index) => {
    const acts = actionWeight(each) !== 0 && (imitation || sequences[index].advantage !== 0);
    return sum + (acts ? each.actions : 0) + (observationWeight(each) !== 0 ? each.observations : 0);
  }, 0);
  const counts: StepCounts = {
    sequences: n,
    tokens,
    actionTokens: allActions,
    observationTokens: allObservations,
    droppedObservationTokens: total("dropped"),
    warningTokens: total("warnings"),
    sequencesWithoutActions: tallies.filter((each) => each.actions === 0).length,
    sequencesWithoutObservations: tallies.filter(
      (each) => each.observations + each.dropped + each.warnings === 0,
    ).length,
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
