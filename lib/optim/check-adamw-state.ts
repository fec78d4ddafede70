import { CheckpointError } from "../errors/checkpoint-error.js";
import type { AdamWState } from "./adamw-state.js";

function mismatch(what: string): never {
  throw new CheckpointError("ERR_CHECKPOINT_MISMATCH", `[AdamW.restore] ${what}`);
}

function checkLength(what: string, length: number, array: Float32Array): void {
  if (array.length !== length) mismatch(`${what}: expected length ${length}, got ${array.length}.`);
}

function checkCount(name: "stepCount" | "skippedSteps", count: number): void {
  if (!Number.isSafeInteger(count) || count < 0)
    mismatch(`${name} is unusable: expected a whole number, at least 0, got ${String(count)}.`);
}

/**
 * @param lengths of the parameters' values, by name.
 * @param bfloat16 names of the parameters that have a master.
 * @throws CheckpointError ERR_CHECKPOINT_MISMATCH when `state` belongs to other parameters.
 */
export function checkAdamWState(
  state: AdamWState,
  lengths: ReadonlyMap<string, number>,
  bfloat16: ReadonlySet<string>,
): void {
  const { moments, masters = {} } = state;
  checkCount("stepCount", state.stepCount);
  checkCount("skippedSteps", state.skippedSteps);
  for (const name of Object.keys(moments))
    if (!lengths.has(name)) mismatch(`moments of ${name}: expected a parameter of that name, got none.`);
  for (const name of Object.keys(masters))
    if (!bfloat16.has(name))
      mismatch(`master of ${name}: expected a bfloat16 parameter of that name, got none.`);
  for (const [name, length] of lengths) {
    if (!Object.hasOwn(moments, name))
      mismatch(`moments of ${name} are missing: expected two arrays, got none.`);
    checkLength(`first moment of ${name}`, length, moments[name].first);
    checkLength(`second moment of ${name}`, length, moments[name].second);
    if (!bfloat16.has(name)) continue;
    if (!Object.hasOwn(masters, name))
      mismatch(
        `master of ${name} is missing: expected an array, got none. It was saved for float32 parameters.`,
      );
    checkLength(`master of ${name}`, length, masters[name]);
  }
}
