import type { SampleRequest } from "./sample-request.js";
import type { SampleResult } from "./sample-result.js";

/** A model that samples: token ids in, token ids and log-probabilities out. */
export interface Policy {
  /** Increases with every `update`; written into each trajectory. */
  readonly version: number;
  /** Longest sequence (context + sampled) the policy takes. */
  readonly maxContext: number;
  sample(request: SampleRequest): Promise<SampleResult>;
  /** Forgets a session's cached state. Unknown sessions are ignored. */
  endSession(session: string): void;
  /** Takes new weights: from a checkpoint directory, or, without one, from the model it shares memory with. */
  update(directory?: string): Promise<void>;
  dispose(): Promise<void>;
}
