import { ArgumentError } from "../errors/argument-error.js";

/** @throws ArgumentError ERR_OUT_OF_RANGE when a target is `vocab` or more; negative ones skip their rows. */
export function checkSkippableTargets(where: string, targets: Int32Array, vocab: number): void {
  const row = targets.findIndex((target) => target >= vocab);
  if (row >= 0)
    throw new ArgumentError(
      "ERR_OUT_OF_RANGE",
      `[${where}] target out of range at row ${row}: expected at most ${vocab - 1}, got ${targets[row]}. A negative target skips its row.`,
    );
}
