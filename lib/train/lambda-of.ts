import { lambdaSchedule } from "../loss/lambda-schedule.js";
import type { TrainConfig } from "./config/train-config.js";

/** Lambda as a function of the training steps done. */
export function lambdaOf(config: TrainConfig): (step: number) => number {
  const { lambda, lambdaSchedule: schedule } = config;
  if (schedule.kind === "constant") return lambdaSchedule(lambda);
  if (schedule.kind === "linear")
    return lambdaSchedule({ kind: "linear", from: lambda, to: schedule.to, steps: schedule.steps });
  return lambdaSchedule({ kind: "step", values: [lambda, ...schedule.values], steps: schedule.steps });
}
