import type { ResolvedLossOptions } from "./resolve-loss-options.js";

/** The options of log-probabilities as the addon takes them: logitSoftcap 0 for none. */
export function nativeLogprobsOptions({
  temperature,
  logitSoftcap,
}: Pick<ResolvedLossOptions, "temperature" | "logitSoftcap">): { temperature: number; logitSoftcap: number } {
  return { temperature, logitSoftcap: logitSoftcap === false ? 0 : logitSoftcap };
}
