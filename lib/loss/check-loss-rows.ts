import { ArgumentError } from "../errors/argument-error.js";
import { checkRows } from "./check-rows.js";
import type { LossRows } from "./loss-rows.js";

/** Row vectors that may be handed to the kernels, [T] each. */
export interface CheckedLossRows {
  targets: Int32Array;
  actionWeights: Float32Array;
  observationWeights: Float32Array;
  advantages: Float32Array;
  /** Null on-policy: the ratio is exactly 1. */
  oldLogprobs: Float32Array | null;
  /** Null without a reference policy. */
  referenceLogprobs: Float32Array | null;
}

/**
 * The rows, if the loss of each weighted one is defined.
 *
 * @throws ArgumentError ERR_INVALID_TYPE, ERR_INVALID_DTYPE, ERR_INVALID_SHAPE, ERR_DETACHED, ERR_UNSUPPORTED (resizable buffer),
 *   ERR_OUT_OF_RANGE (target on a weighted row), ERR_NON_FINITE (weight, advantage, log-probability), ERR_OVERLAP (a row that is both action and
 *   observation).
 */
export function checkLossRows(where: string, input: LossRows, rows: number, vocab: number): CheckedLossRows {
  const targets = checkRows(where, "targets", input.targets, Int32Array, rows, "[T]");
  const floats = (name: string, value: unknown): Float32Array =>
    checkRows(where, name, value, Float32Array, rows, "[T]");
  const actionWeights = floats("actionWeights", input.actionWeights);
  const observationWeights = floats("observationWeights", input.observationWeights);
  const advantages = floats("advantages", input.advantages);
  const oldLogprobs = checkOldLogprobs(where, input, rows);
  if (input.samplerLogprobs !== undefined) floats("samplerLogprobs", input.samplerLogprobs);
  const referenceLogprobs =
    input.referenceLogprobs === undefined ? null : floats("referenceLogprobs", input.referenceLogprobs);
  const nonFinite = (name: string, row: number, value: number): never => {
    throw new ArgumentError(
      "ERR_NON_FINITE",
      `[${where}] ${name} is not finite at row ${row}: expected a number, got ${value}.`,
    );
  };
  for (let t = 0; t < targets.length; t++) {
    const action = actionWeights[t];
    const observation = observationWeights[t];
    if (action === 0 && observation === 0) continue;
    if (!Number.isFinite(action)) nonFinite("actionWeights", t, action);
    if (!Number.isFinite(observation)) nonFinite("observationWeights", t, observation);
    if (action !== 0 && observation !== 0)
      throw new ArgumentError(
        "ERR_OVERLAP",
        `[${where}] row ${t} is both action and observation: expected one weight to be 0, got actionWeights ${action} and observationWeights ${observation}. A token has one author.`,
      );
    if (targets[t] < 0 || targets[t] >= vocab)
      throw new ArgumentError(
        "ERR_OUT_OF_RANGE",
        `[${where}] target out of range at row ${t}: expected 0 to ${vocab - 1}, got ${targets[t]}. Rows that are not to be learned must weigh 0.`,
      );
    if (action === 0) continue;
    if (!Number.isFinite(advantages[t])) nonFinite("advantages", t, advantages[t]);
    if (oldLogprobs !== null && !Number.isFinite(oldLogprobs[t])) nonFinite("oldLogprobs", t, oldLogprobs[t]);
    if (referenceLogprobs !== null && !Number.isFinite(referenceLogprobs[t]))
      nonFinite("referenceLogprobs", t, referenceLogprobs[t]);
  }
  return { targets, actionWeights, observationWeights, advantages, oldLogprobs, referenceLogprobs };
}

function checkOldLogprobs(where: string, input: LossRows, rows: number): Float32Array | null {
  if (input.onPolicy === true) {
    if (input.oldLogprobs !== undefined)
      checkRows(where, "oldLogprobs", input.oldLogprobs, Float32Array, rows, "[T]");
    return null;
  }
  if (input.oldLogprobs === undefined)
    throw new ArgumentError(
      "ERR_INVALID_TYPE",
      `[${where}] oldLogprobs are missing: expected Float32Array [T], got undefined. Pass the log-probabilities of the policy that is being updated, or onPolicy: true when no update has happened since sampling.`,
    );
  return checkRows(where, "oldLogprobs", input.oldLogprobs, Float32Array, rows, "[T]");
}
