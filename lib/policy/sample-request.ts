/** Asks a policy to continue a sequence of token ids. */
export interface SampleRequest {
  /** The whole context so far; never re-tokenised. */
  ids: readonly number[];
  /** Most tokens to sample. */
  maxTokens: number;
  /** Sampling temperature, > 0. */
  temperature: number;
  /** Sampling ends after one of these ids was sampled (it is included in the result). */
  stop: readonly number[];
  /** Counter-based randomness: the token at absolute position p of the sequence is drawn with key (seed, p), whatever the batch. */
  seed: bigint;
  /** Requests of one session extend each other; a policy may keep the session's keys and values between them. */
  session?: string;
  signal?: AbortSignal;
}
