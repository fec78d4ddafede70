import { CounterRandom } from "../../random/counter-random.js";
import { deriveSeed } from "../../random/derive-seed.js";
import type { Task } from "../task.js";

/** One world in this many is kept for `val`; which, is decided by its content, so `train` and `val` share none. */
const VAL_SHARE = 8n;

/**
 * Task `index` of a split: the first draw whose content, instruction and files, belongs to the split. Splits are disjoint by content: a hash
 * of it parts `train` from `val`, and `ood` has names of its own.
 * @param seed of the family's generator.
 * @param family such as `tinyterm/find`.
 */
export function splitByContent<T extends Task & { files: readonly unknown[] }>(
  seed: number,
  family: string,
  split: Task["split"],
  index: number,
  draw: (random: CounterRandom) => T,
): T {
  for (let attempt = 0; ; attempt++) {
    const task = draw(new CounterRandom(deriveSeed(seed, `${family}/${split}`, index, attempt)));
    const content = JSON.stringify([task.instruction, task.files]);
    const forVal = deriveSeed(seed, content) % VAL_SHARE === 0n;
    if (split === "ood" || forVal === (split === "val")) return task;
  }
}
