export { closeRun } from "./close-run.js";
export { parseConfig } from "./config/parse-config.js";
export { readConfig } from "./config/read-config.js";
export { type TrainConfig, trainConfigSchema } from "./config/train-config.js";
export { resumeRun } from "./resume-run.js";
export { startRun } from "./start-run.js";
export type { TrainParts } from "./train-parts.js";
export { type TrainerOptions, train } from "./trainer.js";
export type { TrainingRun } from "./training-run.js";
