/**
 * Why a rollout ended.
 *   submitted        the environment said done
 *   max_turns        the turn limit; verified as it stands
 *   max_tokens       the token limit of the rollout; verified as it stands
 *   rollout_timeout  wall clock; scored 0, tokens kept, step marked not exact
 *   sandbox_error    infrastructure: the environment could not be built, answer or be reached
 *   policy_error     infrastructure: whoever writes the actions failed
 *   harness_error    infrastructure: the harness or its tokenizer failed
 *   verifier_error   infrastructure: the verifier failed or did not end
 *   cancelled        the run was asked to stop, or the batch's deadline passed
 * The last five are excluded from the group and counted, never scored.
 */
export type StopReason =
  | "submitted"
  | "max_turns"
  | "max_tokens"
  | "rollout_timeout"
  | "sandbox_error"
  | "policy_error"
  | "harness_error"
  | "verifier_error"
  | "cancelled";
