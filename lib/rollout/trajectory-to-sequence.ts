import { DataError } from "../errors/data-error.js";
import type { TokenSequence } from "../loss/token-sequence.js";
import { lettersToRoles } from "../tokens/letters-to-roles.js";
import type { Trajectory } from "./trajectory.js";

/**
 * A trajectory as the loss sees it. Log-probabilities move from "one per action token" to "one per token", 0 elsewhere. The
 * sampler's own stand for both the old and the sampler's log-probabilities; a trainer that recomputes the old ones replaces
 * `oldLogprobs`. A script has neither.
 *
 * @throws DataError ERR_TRAJECTORY when roles or log-probabilities do not match the ids.
 */
export function trajectoryToSequence(trajectory: Trajectory, advantage: number): TokenSequence {
  const { ids, roles, logprobs, author, taskId } = trajectory;
  const refuse = (what: string, expected: number, got: number): never => {
    throw new DataError(
      "ERR_TRAJECTORY",
      `[trajectoryToSequence] ${what} of ${taskId}: expected ${expected}, got ${got}. The record is corrupt.`,
    );
  };
  if (roles.length !== ids.length) refuse("number of roles", ids.length, roles.length);
  const aligned = new Float32Array(ids.length);
  let actions = 0;
  for (let t = 0; t < ids.length; t++) if (roles[t] === "a") aligned[t] = logprobs[actions++] ?? 0;
  const expected = author === "policy" ? actions : 0;
  if (logprobs.length !== expected) refuse("number of log-probabilities", expected, logprobs.length);
  const sequence: TokenSequence = { ids: Int32Array.from(ids), roles: lettersToRoles(roles), advantage };
  if (author === "policy") {
    sequence.oldLogprobs = aligned;
    sequence.samplerLogprobs = aligned.slice();
  }
  return sequence;
}
