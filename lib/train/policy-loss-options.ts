import type { LossOptions } from "../loss/loss-options.js";
import type { TrainConfig } from "./config/train-config.js";

/** The options of the objective in the policy steps of a run. */
export function policyLossOptions(config: TrainConfig): LossOptions {
  return {
    temperature: config.temperature,
    surrogate: config.surrogate,
    ratioLevel: config.ratioLevel,
    epsilonLow: config.epsilonLow,
    epsilonHigh: config.epsilonHigh,
    dualClip: config.dualClip,
    logRatioClamp: config.logRatioClamp,
    klCoefficient: config.klCoefficient,
    klEstimator: config.klEstimator,
    entropyCoefficient: config.entropyCoefficient,
    nllAtOne: config.temperature !== 1,
  };
}
