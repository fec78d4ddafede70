import { ArgumentError } from "../errors/argument-error.js";
import type { Schedule } from "./schedule.js";

function refuse(name: string, expected: string, got: unknown): never {
  throw new ArgumentError(
    "ERR_OUT_OF_RANGE",
    `[learningRateAt] ${name} is unusable: expected ${expected}, got ${String(got)}.`,
  );
}

/**
 * The learning rate of optimiser step `step` (from 0). The first of w warm-up steps has peak / w, the last one the peak: no step is
 * wasted on 0.
 *
 * @throws ArgumentError ERR_OUT_OF_RANGE.
 */
export function learningRateAt(schedule: Schedule, step: number): number {
  const { peak, warmupSteps = 0 } = schedule;
  if (!(Number.isInteger(step) && step >= 0)) refuse("step", "a whole number, at least 0", step);
  if (!(peak >= 0 && Number.isFinite(peak))) refuse("peak", "a finite number, at least 0", peak);
  if (!(Number.isInteger(warmupSteps) && warmupSteps >= 0))
    refuse("warmupSteps", "a whole number, at least 0", warmupSteps);
  if (schedule.kind !== "constant") {
    const { totalSteps, finalShare = 0 } = schedule;
    if (!(Number.isInteger(totalSteps) && totalSteps >= warmupSteps))
      refuse("totalSteps", `a whole number, at least warmupSteps (${warmupSteps})`, totalSteps);
    if (!(finalShare >= 0 && finalShare <= 1)) refuse("finalShare", "a number from 0 to 1", finalShare);
  }
  if (step < warmupSteps) return (peak * (step + 1)) / warmupSteps;
  if (schedule.kind === "constant") return peak;
  const { totalSteps, finalShare = 0 } = schedule;
  const progress =
    totalSteps > warmupSteps ? Math.min(1, (step - warmupSteps) / (totalSteps - warmupSteps)) : 1;
  const left = schedule.kind === "linear" ? 1 - progress : (1 + Math.cos(Math.PI * progress)) / 2;
  return peak * (finalShare + (1 - finalShare) * left);
}
