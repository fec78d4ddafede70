/** What ends a rollout. Counts decide on their own terms (the rollout is verified as it stands); times are nets below them. */
export interface RolloutLimits {
  /** Most turns; the task's own limit applies too. Default: the task's. */
  maxTurns?: number;
  /** Most tokens of the whole sequence, prompt included; the policy's `maxContext` applies too. Default: the policy's. */
  maxTokens?: number;
  /** Wall clock of the turns: the agent's time. Passing it scores 0. Default 120,000. */
  timeoutMs?: number;
  /** Wall clock of building the environment: an infrastructure failure when it passes. Default 60,000. */
  setupTimeoutMs?: number;
  /** Wall clock of verification: an infrastructure failure when it passes. Default 60,000. */
  verifyTimeoutMs?: number;
  /** Longest wait for the environment to clean up after itself. Default 10,000. */
  disposeTimeoutMs?: number;
}
