import { ArgumentError } from "../errors/argument-error.js";

/**
 * A temperature that is usable in float32, where logits are divided by it: a smaller one would become 0 there.
 *
 * @throws ArgumentError ERR_OUT_OF_RANGE, ERR_INVALID_TYPE.
 */
export function checkTemperature(where: string, temperature: number): number {
  const single = Math.fround(temperature);
  if (typeof temperature === "number" && single > 0 && single < Number.POSITIVE_INFINITY) return temperature;
  throw new ArgumentError(
    typeof temperature === "number" ? "ERR_OUT_OF_RANGE" : "ERR_INVALID_TYPE",
    `[${where}] temperature is unusable: expected a finite number above 0, got ${String(temperature)}.`,
  );
}
