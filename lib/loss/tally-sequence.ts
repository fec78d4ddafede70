import { ArgumentError } from "../errors/argument-error.js";
import { ROLE_CODE } from "../tokens/role-code.js";
import type { StepWeightsOptions } from "./step-weights-options.js";

/** What one sequence holds. A token that opens it counts nowhere. */
export interface SequenceTally {
  /** |A_i|. */
  actions: number;
  /** |O_i|: observation and warning tokens, targets or not. */
  answered: number;
  /** |O'_i|: target tokens that were not dropped. */
  targets: number;
  /** Target tokens that `observationWeight` or `maxObservationTokens` dropped. */
  dropped: number;
  /** |W_i|. */
  warnings: number;
  /** Factor of each token's observation weight, [L], from token 1 on; 0 on what is no target. */
  factors: Float64Array;
}

/** Counts the tokens of `options.sequences[sequenceIndex]` and selects its targets. `options` were checked. */
export function tallySequence(options: StepWeightsOptions, sequenceIndex: number): SequenceTally {
  const { roles } = options.sequences[sequenceIndex];
  const { observationTargets = "observations", maxObservationTokens = Infinity } = options;
  const observed = observationTargets !== "warnings";
  const warned = observationTargets !== "observations";
  const isTarget = (role: number): boolean =>
    (observed && role === ROLE_CODE.observation) || (warned && role === ROLE_CODE.warning);
  const factors = segmentFactors(options, sequenceIndex, isTarget);
  const tally: SequenceTally = { actions: 0, answered: 0, targets: 0, dropped: 0, warnings: 0, factors };
  let kept = 0;
  for (let t = 1; t < roles.length; t++) {
    if (roles[t] === ROLE_CODE.action) tally.actions++;
    if (roles[t] === ROLE_CODE.warning) tally.warnings++;
    if (roles[t] !== ROLE_CODE.observation && roles[t] !== ROLE_CODE.warning) {
      kept = 0;
      continue;
    }
    tally.answered++;
    if (!isTarget(roles[t])) continue;
    if (factors[t] !== 0 && kept < maxObservationTokens) {
      kept++;
      tally.targets++;
    } else {
      factors[t] = 0;
      tally.dropped++;
    }
  }
  return tally;
}

/** `observationWeight` of every target token, asked once per run of them. */
function segmentFactors(
  { observationWeight = () => 1, sequences }: StepWeightsOptions,
  sequenceIndex: number,
  isTarget: (role: number) => boolean,
): Float64Array {
  const { roles } = sequences[sequenceIndex];
  const factors = new Float64Array(roles.length);
  for (let start = 0; start < roles.length; start++) {
    if (!isTarget(roles[start])) continue;
    let end = start + 1;
    while (end < roles.length && isTarget(roles[end])) end++;
    const factor = observationWeight({ sequenceIndex, start, end });
    if (!Number.isFinite(Math.fround(factor)) || factor < 0)
      throw new ArgumentError(
        "ERR_OUT_OF_RANGE",
        `[stepWeights] observationWeight of sequences[${sequenceIndex}] tokens ${start} to ${end - 1} is unusable: expected a finite number >= 0, got ${factor}. Return 1 to keep an observation, 0 to drop it.`,
      );
    factors.fill(factor, start, end);
    start = end;
  }
  return factors;
}
