import { ArgumentError } from "../errors/argument-error.js";
import { ROLE_CODE } from "../tokens/role-code.js";
import type { StepWeightsOptions } from "./step-weights-options.js";
import type { TokenSequence } from "./token-sequence.js";

const WHERE = "[stepWeights]";
const MAX_ROLE = Math.max(...Object.values(ROLE_CODE));
const MASK_KEYS = ["mask", "masks", "actionMask", "observationMask", "warningMask", "lossMask"];

function describe(value: unknown): string {
  if (value === null || typeof value !== "object") return String(value);
  return value.constructor?.name ?? "object";
}

function refuseMasks(holder: object, name: string): void {
  for (const key of MASK_KEYS)
    if (key in holder)
      throw new ArgumentError(
        "ERR_UNSUPPORTED",
        `${WHERE} ${name} has a flat \`${key}\`: expected one role per token and whole sequences, got a mask. Masks lose which tokens form a sequence and what each one is; make \`roles\` with rolesFromMasks(), one sequence at a time.`,
      );
}

function checkLogprobs(values: unknown, name: string, sequence: TokenSequence, index: number): void {
  if (!(values instanceof Float32Array))
    throw new ArgumentError(
      "ERR_INVALID_DTYPE",
      `${WHERE} sequences[${index}].${name} has the wrong type: expected Float32Array, got ${describe(values)}. Convert it.`,
    );
  if (values.length !== sequence.ids.length)
    throw new ArgumentError(
      "ERR_INVALID_SHAPE",
      `${WHERE} sequences[${index}].${name} does not match ids: expected ${sequence.ids.length} values, got ${values.length}. Pass one per token; only action tokens are read.`,
    );
  for (let t = 1; t < values.length; t++)
    if (sequence.roles[t] === ROLE_CODE.action && !Number.isFinite(values[t]))
      throw new ArgumentError(
        "ERR_NON_FINITE",
        `${WHERE} sequences[${index}].${name}[${t}] is not finite: expected the log-probability of an action token, got ${values[t]}. Store what the sampler reported.`,
      );
}

function checkSequence(sequence: TokenSequence, index: number, options: StepWeightsOptions): void {
  const name = `sequences[${index}]`;
  if (sequence === null || typeof sequence !== "object")
    throw new ArgumentError(
      "ERR_INVALID_TYPE",
      `${WHERE} ${name} is not a sequence: expected { ids, roles, advantage }, got ${describe(sequence)}. Pass whole sequences, not flat arrays.`,
    );
  refuseMasks(sequence, name);
  const { ids, roles } = sequence;
  if (!(ids instanceof Int32Array))
    throw new ArgumentError(
      "ERR_INVALID_DTYPE",
      `${WHERE} ${name}.ids has the wrong type: expected Int32Array, got ${describe(ids)}. Convert it.`,
    );
  if (!(roles instanceof Uint8Array))
    throw new ArgumentError(
      "ERR_INVALID_DTYPE",
      `${WHERE} ${name}.roles has the wrong type: expected Uint8Array of ROLE_CODE, got ${describe(roles)}. Convert it.`,
    );
  if (ids.length === 0)
    throw new ArgumentError(
      "ERR_INVALID_SHAPE",
      `${WHERE} ${name} has no tokens: expected at least 1, got 0. Leave out rollouts that never started.`,
    );
  if (roles.length !== ids.length)
    throw new ArgumentError(
      "ERR_INVALID_SHAPE",
      `${WHERE} ${name}.roles does not match ids: expected ${ids.length} values, got ${roles.length}. Every token needs a role.`,
    );
  for (let t = 0; t < ids.length; t++) {
    if (roles[t] > MAX_ROLE)
      throw new ArgumentError(
        "ERR_OUT_OF_RANGE",
        `${WHERE} ${name}.roles[${t}] is not a role: expected a code of ROLE_CODE (0 to ${MAX_ROLE}), got ${roles[t]}. Use ROLE_CODE.`,
      );
    if (ids[t] < 0)
      throw new ArgumentError(
        "ERR_OUT_OF_RANGE",
        `${WHERE} ${name}.ids[${t}] is not a token id: expected 0 or more, got ${ids[t]}. Give tokens that are no target the role context instead of a negative id.`,
      );
  }
  if (roles[0] === ROLE_CODE.action)
    throw new ArgumentError(
      "ERR_OUT_OF_RANGE",
      `${WHERE} ${name} begins with an action token: expected a context token, got an action that nothing precedes. Keep the prompt in the sequence.`,
    );
  if (options.objective === "imitation") return;
  if (!Number.isFinite(Math.fround(sequence.advantage)))
    throw new ArgumentError(
      "ERR_NON_FINITE",
      `${WHERE} ${name}.advantage is not a finite float32: expected a number, got ${sequence.advantage}. Leave excluded rollouts out of the step.`,
    );
  if (!options.onPolicy && !options.envOnly) {
    if (sequence.oldLogprobs !== undefined)
      checkLogprobs(sequence.oldLogprobs, "oldLogprobs", sequence, index);
    else if (roles.includes(ROLE_CODE.action))
      throw new ArgumentError(
        "ERR_INVALID_TYPE",
        `${WHERE} ${name}.oldLogprobs is absent: expected a Float32Array of ${ids.length} values, got undefined. Pass the log-probabilities under the policy before this step, or onPolicy: true when these weights sampled the sequences.`,
      );
  }
  if (sequence.samplerLogprobs !== undefined)
    checkLogprobs(sequence.samplerLogprobs, "samplerLogprobs", sequence, index);
}

function checkNumber(value: number | undefined, name: string, positive: boolean): void {
  if (value === undefined) return;
  if (
    typeof value !== "number" ||
    !Number.isFinite(Math.fround(value)) ||
    value < 0 ||
    (positive && value === 0)
  )
    throw new ArgumentError(
      "ERR_OUT_OF_RANGE",
      `${WHERE} ${name} is out of range: expected a finite number ${positive ? "> 0" : ">= 0"}, got ${value}. Correct it.`,
    );
}

function checkChoice(value: string | undefined, name: string, choices: readonly string[]): void {
  if (value !== undefined && !choices.includes(value))
    throw new ArgumentError(
      "ERR_OUT_OF_RANGE",
      `${WHERE} ${name} is unknown: expected one of ${choices.join(", ")}, got ${value}. Correct it.`,
    );
}

/** Refuses everything `stepWeights` cannot use, naming it. */
export function checkStepOptions(options: StepWeightsOptions): void {
  refuseMasks(options, "options");
  const { sequences } = options;
  if (!Array.isArray(sequences))
    throw new ArgumentError(
      "ERR_INVALID_TYPE",
      `${WHERE} sequences is not a list: expected an array of { ids, roles, advantage }, got ${describe(sequences)}. Normalisers are per sequence: pass whole sequences, not flat arrays.`,
    );
  if (sequences.length === 0)
    throw new ArgumentError(
      "ERR_INVALID_SHAPE",
      `${WHERE} the step is empty: expected at least 1 sequence, got 0. Skip the step instead.`,
    );
  checkNumber(options.lambda, "lambda", false);
  checkNumber(options.observationEpsilon, "observationEpsilon", false);
  checkNumber(options.maxLength, "maxLength", true);
  checkChoice(options.aggregation, "aggregation", ["sequence", "token", "constant"]);
  checkChoice(options.observationDenominator, "observationDenominator", ["all", "selected", "token"]);
  checkChoice(options.observationTargets, "observationTargets", ["observations", "all", "warnings"]);
  const { maxObservationTokens: most } = options;
  if (most !== undefined && (!Number.isInteger(most) || most <= 0))
    throw new ArgumentError(
      "ERR_OUT_OF_RANGE",
      `${WHERE} maxObservationTokens is out of range: expected a positive integer, got ${most}. Leave it out for no limit.`,
    );
  checkChoice(options.objective, "objective", ["policy", "imitation"]);
  if ((options.aggregation === "constant") !== (options.maxLength !== undefined))
    throw new ArgumentError(
      "ERR_OUT_OF_RANGE",
      `${WHERE} maxLength and aggregation do not fit: expected maxLength exactly with aggregation "constant", got aggregation ${options.aggregation ?? "sequence"} and maxLength ${options.maxLength}. Set or remove maxLength.`,
    );
  for (const [index, sequence] of sequences.entries()) checkSequence(sequence, index, options);
  const sampled = sequences.findIndex((sequence) => sequence.samplerLogprobs !== undefined);
  const unsampled = sequences.findIndex((sequence) => sequence.samplerLogprobs === undefined);
  if (sampled >= 0 && unsampled >= 0)
    throw new ArgumentError(
      "ERR_INVALID_TYPE",
      `${WHERE} sequences[${unsampled}].samplerLogprobs is absent: expected them on every sequence or on none, got them on sequences[${sampled}]. Pass them for all.`,
    );
}
