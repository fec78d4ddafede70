import type { TrainConfig } from "./config/train-config.js";
import type { TrainParts } from "./train-parts.js";

/** Where a resumed run takes its weights from, in place of the configuration's model. */
export interface ResumedWeights {
  /** What `TrainParts.model.save` wrote. */
  modelDirectory: string;
  /** `Policy.version` as it was; the policy must go on counting from it. */
  policyVersion: number;
}

/**
 * Opens the parts of a run. `config` has its paths resolved; `resumed` is given when the run goes on from a checkpoint. Parts that cannot
 * work together must be refused here, by throwing.
 */
export type PartsOpener = (config: TrainConfig, resumed?: ResumedWeights) => Promise<TrainParts>;
