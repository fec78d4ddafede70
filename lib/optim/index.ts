export { bfloat16ToFloat32 } from "../floats/bfloat16-to-float32.js";
export { float32ToBfloat16 } from "../floats/float32-to-bfloat16.js";
export { AdamW, type AdamWOptions, type AdamWStep } from "./adamw.js";
export type { AdamWState } from "./adamw-state.js";
export type { Bfloat16Parameter } from "./bfloat16-parameter.js";
export { type ClipResult, clipGradients } from "./clip-gradients.js";
export { learningRateAt } from "./learning-rate-at.js";
export type { OptimizerParameter } from "./optimizer-parameter.js";
export type { Schedule } from "./schedule.js";
