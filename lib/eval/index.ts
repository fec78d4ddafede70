export {
  evaluateSuccess,
  type SuccessOptions,
  type SuccessRate,
  type SuccessReport,
} from "./evaluate-success.js";
export { type ObservationNll, observationNll } from "./observation-nll.js";
export { passAtK } from "./pass-at-k.js";
export { type Recording, type RecordOptions, recordTrajectories } from "./record-trajectories.js";
export { wilsonInterval } from "./wilson-interval.js";
