import type { TrainableModel } from "./trainable-model.js";

/** Weights that do not learn, to which a KL penalty ties those that do. */
export type ReferenceModel = Pick<TrainableModel, "logprobs">;
