import type { SequenceBlock } from "./sequence-block.js";

/**
 * Gives the first weighted rows unusual logits: none but -Infinity, a NaN, +Infinity, -Infinity at the target, nothing but -Infinity before column 32, a
 * target alone. @returns the rows without a finite log-probability, ascending.
 */
export function makeRowsUnusual(block: SequenceBlock): number[] {
  const { logits, targets, vocabSize: V } = block;
  const weighted = [...targets.keys()].filter(
    (t) => block.actionWeights[t] !== 0 || block.observationWeights[t] !== 0,
  );
  const [empty, poisoned, infinite, target, masked, lonely] = weighted;
  logits.fill(-Infinity, empty * V, (empty + 1) * V);
  logits[poisoned * V + V - 13] = Number.NaN;
  logits[infinite * V + 3] = Infinity;
  logits[target * V + targets[target]] = -Infinity;
  logits.fill(-Infinity, masked * V, masked * V + 32);
  targets[masked] = 40;
  logits.fill(-Infinity, lonely * V, (lonely + 1) * V);
  logits[lonely * V + targets[lonely]] = 2;
  return [empty, poisoned, infinite, target].sort((a, b) => a - b);
}
