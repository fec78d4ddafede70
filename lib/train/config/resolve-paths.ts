import { resolve } from "node:path";
import type { TrainConfig } from "./train-config.js";

/** The same configuration with the files it reads named absolutely, so that a resume finds them from anywhere. */
export function resolvePaths(config: TrainConfig): TrainConfig {
  const { model, sft } = config;
  const { expertTrajectories } = config.eval;
  return {
    ...config,
    model: {
      ...model,
      ...(model.path === undefined ? {} : { path: resolve(model.path) }),
      ...(model.tokenizer === undefined ? {} : { tokenizer: resolve(model.tokenizer) }),
    },
    eval: {
      ...config.eval,
      ...(expertTrajectories === undefined ? {} : { expertTrajectories: resolve(expertTrajectories) }),
    },
    ...(sft === undefined ? {} : { sft: { ...sft, data: sft.data.map((path) => resolve(path)) } }),
  };
}
