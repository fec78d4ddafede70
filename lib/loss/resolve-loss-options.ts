import { ArgumentError } from "../errors/argument-error.js";
import { checkTemperature } from "./check-temperature.js";
import type { LossOptions } from "./loss-options.js";

function outOfRange(where: string, name: string, expected: string, got: unknown): ArgumentError {
  return new ArgumentError(
    typeof got === "number" ? "ERR_OUT_OF_RANGE" : "ERR_INVALID_TYPE",
    `[${where}] ${name} is unusable: expected ${expected}, got ${String(got)}.`,
  );
}

/** The options with their defaults. @throws ArgumentError ERR_OUT_OF_RANGE or ERR_INVALID_TYPE. */
export function resolveLossOptions(where: string, options: LossOptions): Required<LossOptions> {
  const resolved: Required<LossOptions> = {
    temperature: checkTemperature(where, options.temperature ?? 1),
    epsilonLow: options.epsilonLow ?? 0.2,
    epsilonHigh: options.epsilonHigh ?? 0.2,
    logRatioClamp: options.logRatioClamp ?? 20,
    nllAtOne: options.nllAtOne ?? false,
    gradScale: options.gradScale ?? 1,
  };
  const { epsilonLow, epsilonHigh, logRatioClamp, nllAtOne, gradScale } = resolved;
  if (!(typeof epsilonLow === "number" && epsilonLow >= 0 && epsilonLow <= 1))
    throw outOfRange(where, "epsilonLow", "a number from 0 to 1", epsilonLow);
  if (!(typeof epsilonHigh === "number" && epsilonHigh >= 0 && Number.isFinite(epsilonHigh)))
    throw outOfRange(where, "epsilonHigh", "a finite number, at least 0", epsilonHigh);
  if (
    logRatioClamp !== false &&
    !(typeof logRatioClamp === "number" && logRatioClamp > 0 && Number.isFinite(logRatioClamp))
  )
    throw outOfRange(where, "logRatioClamp", "a finite number above 0, or false", logRatioClamp);
  if (typeof nllAtOne !== "boolean") throw outOfRange(where, "nllAtOne", "true or false", nllAtOne);
  if (!Number.isFinite(gradScale)) throw outOfRange(where, "gradScale", "a finite number", gradScale);
  return resolved;
}
