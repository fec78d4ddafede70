export { HostTensor } from "../tensors/host-tensor.js";
export { groupAdvantages } from "./advantages.js";
export type { AsyncLogitsBlock } from "./async-logits.js";
export {
  type CheckedLoss,
  type CheckedLossInput,
  checkGradient,
  type GradientCheck,
} from "./check-gradient.js";
export type { LogitsBlock, LogitsDtype } from "./check-logits.js";
export type { ComputeDevice } from "./compute-device.js";
export type { DeviceLinearHead } from "./device-linear-head.js";
export { echoLoss } from "./echo-loss.js";
export { type EchoLossAsyncInput, echoLossAsync } from "./echo-loss-async.js";
export type { EchoLossInput } from "./echo-loss-input.js";
export type { EchoLossResult } from "./echo-loss-result.js";
export { type LambdaSchedule, lambdaSchedule } from "./lambda-schedule.js";
export {
  type DeviceLinearEchoLossResult,
  type LinearEchoLossResult,
  linearEchoLoss,
} from "./linear-echo-loss.js";
export type { DeviceLinearEchoLossInput, LinearEchoLossInput } from "./linear-echo-loss-input.js";
export type { LinearHead } from "./linear-head.js";
export {
  type DeviceLinearTokenLogprobsInput,
  type LinearTokenLogprobsInput,
  linearTokenLogprobs,
} from "./linear-token-logprobs.js";
export type { LossOptions } from "./loss-options.js";
export type { LossRows } from "./loss-rows.js";
export type { LossTotals } from "./loss-totals.js";
export { mergeLossTotals } from "./merge-loss-totals.js";
export { mergeVocabStatistics } from "./merge-vocab-statistics.js";
export type { MicroBatch } from "./micro-batch.js";
export { type PackedBatch, type PackedRows, type PackedRowsOptions, packedRows } from "./packed-rows.js";
export type { PackedSequences } from "./packed-sequences.js";
export { type ReferenceInput, type ReferenceResult, referenceLoss } from "./reference.js";
export type { ReferenceRows } from "./reference-rows.js";
export { rolesFromMasks } from "./roles-from-masks.js";
export type { RolloutCorrection } from "./rollout-correction.js";
export type { SequenceWeights } from "./sequence-weights.js";
export type { StepCounts } from "./step-counts.js";
export { type StepWeights, stepWeights } from "./step-weights.js";
export type { ObservationSegment, StepWeightsOptions } from "./step-weights-options.js";
export { tokenLogprobs } from "./token-logprobs.js";
export { type TokenLogprobsAsyncInput, tokenLogprobsAsync } from "./token-logprobs-async.js";
export type { TokenLogprobsInput } from "./token-logprobs-input.js";
export type { TokenSequence } from "./token-sequence.js";
export { type VocabParallelEchoLossInput, vocabParallelEchoLoss } from "./vocab-parallel-echo-loss.js";
export {
  type VocabParallelStatisticsInput,
  vocabParallelStatistics,
} from "./vocab-parallel-statistics.js";
export type { VocabStatistics } from "./vocab-statistics.js";
