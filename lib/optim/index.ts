export { AdamW, type AdamWOptions, type AdamWStep } from "./adamw.js";
export type { AdamWState } from "./adamw-state.js";
export { type ClipResult, clipGradients } from "./clip-gradients.js";
export { learningRateAt } from "./learning-rate-at.js";
export type { OptimizerParameter } from "./optimizer-parameter.js";
export type { Schedule } from "./schedule.js";
