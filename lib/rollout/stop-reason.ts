/**
 * Why a rollout ended.
 *   submitted        the environment said done
 *   max_turns        the turn limit; verified as it stands
 *   max_tokens       the token limit of the rollout; verified as it stands
 *   rollout_timeout  wall clock; scored 0, tokens kept, step marked not exact
 *   sandbox_error, policy_error, verifier_error   infrastructure: excluded from the group, counted, never scored
 *   cancelled        the run was asked to stop; excluded
 */
export type StopReason =
  | "submitted"
  | "max_turns"
  | "max_tokens"
  | "rollout_timeout"
  | "sandbox_error"
  | "policy_error"
  | "verifier_error"
  | "cancelled";
