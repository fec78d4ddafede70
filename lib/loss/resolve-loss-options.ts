import { ArgumentError } from "../errors/argument-error.js";
import { checkTemperature } from "./check-temperature.js";
import type { LossOptions } from "./loss-options.js";

/** Every option with its value; `rolloutCorrection` stays away when there is none. */
export type ResolvedLossOptions = Required<Omit<LossOptions, "rolloutCorrection">> &
  Pick<LossOptions, "rolloutCorrection">;

type Check = (name: string, value: unknown, expected: string, fits: boolean) => void;

function checkRolloutCorrection(check: Check, correction: LossOptions["rolloutCorrection"]): void {
  if (correction === undefined) return;
  const { cap, floor = 0, level, mode } = correction;
  check("rolloutCorrection.level", level, '"token" or "sequence"', level === "token" || level === "sequence");
  check("rolloutCorrection.mode", mode, '"truncate" or "mask"', mode === "truncate" || mode === "mask");
  check("rolloutCorrection.cap", cap, "a finite number above 0", cap > 0 && cap < Infinity);
  check("rolloutCorrection.floor", floor, `a number from 0 to ${cap}`, floor >= 0 && floor <= cap);
  check("rolloutCorrection.floor", floor, "none with mode truncate", mode === "mask" || floor === 0);
}

/**
 * The options with their defaults.
 * @throws ArgumentError ERR_OUT_OF_RANGE or ERR_INVALID_TYPE for one option, ERR_UNSUPPORTED for two that exclude each other.
 */
export function resolveLossOptions(where: string, options: LossOptions): ResolvedLossOptions {
  const check: Check = (name, value, expected, fits) => {
    if (fits) return;
    throw new ArgumentError(
      typeof value === "number" ? "ERR_OUT_OF_RANGE" : "ERR_INVALID_TYPE",
      `[${where}] ${name} is unusable: expected ${expected}, got ${String(value)}.`,
    );
  };
  const resolved: ResolvedLossOptions = {
    temperature: checkTemperature(where, options.temperature ?? 1),
    logitSoftcap: options.logitSoftcap ?? false,
    surrogate: options.surrogate ?? "clip",
    ratioLevel: options.ratioLevel ?? "token",
    epsilonLow: options.epsilonLow ?? 0.2,
    epsilonHigh: options.epsilonHigh ?? 0.2,
    dualClip: options.dualClip ?? false,
    logRatioClamp: options.logRatioClamp ?? 20,
    klCoefficient: options.klCoefficient ?? 0,
    klEstimator: options.klEstimator ?? "k3",
    entropyCoefficient: options.entropyCoefficient ?? 0,
    entropy: options.entropy ?? false,
    nllAtOne: options.nllAtOne ?? false,
    gradScale: options.gradScale ?? 1,
  };
  if (options.rolloutCorrection !== undefined) resolved.rolloutCorrection = options.rolloutCorrection;
  const { surrogate, ratioLevel, epsilonLow, epsilonHigh, klEstimator } = resolved;
  const finite = (value: unknown, above: number): boolean =>
    typeof value === "number" && value > above && Number.isFinite(Math.fround(value));
  check("surrogate", surrogate, '"clip" or "cispo"', surrogate === "clip" || surrogate === "cispo");
  check(
    "ratioLevel",
    ratioLevel,
    '"token" or "sequence"',
    ratioLevel === "token" || ratioLevel === "sequence",
  );
  check("klEstimator", klEstimator, '"k1", "k2" or "k3"', ["k1", "k2", "k3"].includes(klEstimator));
  check(
    "epsilonLow",
    epsilonLow,
    "a number from 0 to 1",
    finite(epsilonLow, -1) && epsilonLow >= 0 && epsilonLow <= 1,
  );
  check(
    "epsilonHigh",
    epsilonHigh,
    "a finite number, at least 0",
    finite(epsilonHigh, -1) && epsilonHigh >= 0,
  );
  for (const [name, above] of [
    ["logRatioClamp", 0],
    ["logitSoftcap", 0],
    ["dualClip", 1],
  ] as const)
    check(
      name,
      resolved[name],
      `a finite number above ${above}, or false`,
      resolved[name] === false || finite(resolved[name], above),
    );
  for (const name of ["klCoefficient", "entropyCoefficient", "gradScale"] as const)
    check(name, resolved[name], "a finite number", finite(resolved[name], -Infinity));
  for (const name of ["entropy", "nllAtOne"] as const)
    check(name, resolved[name], "true or false", typeof resolved[name] === "boolean");
  checkRolloutCorrection(check, resolved.rolloutCorrection);
  if (surrogate === "cispo" && (resolved.dualClip !== false || ratioLevel === "sequence"))
    throw new ArgumentError(
      "ERR_UNSUPPORTED",
      `[${where}] surrogate "cispo" excludes dualClip and ratioLevel "sequence": expected neither, got dualClip ${resolved.dualClip} and ratioLevel "${ratioLevel}". Drop one of them.`,
    );
  if (ratioLevel === "sequence" && resolved.rolloutCorrection?.level === "token")
    throw new ArgumentError(
      "ERR_UNSUPPORTED",
      `[${where}] ratioLevel "sequence" excludes rolloutCorrection of tokens: expected level "sequence", got "token". One ratio for a whole sequence takes one factor.`,
    );
  return resolved;
}
