import type { HostHead } from "./host-head.js";
import { weightRow } from "./weight-row.js";
import { widenLogits } from "./widen-logits.js";

/** One row of the input of the layer and its logits, as float32. */
export interface HeadRow {
  t: number;
  /** [D] */
  hidden: Float32Array;
  /** [V] of the buffer of all chunks: the next one overwrites it. */
  logits: Float32Array;
}

/**
 * Logits of the rows that are wanted, in ascending order, through one buffer of at most `head.chunkRows` of them. Sums are float64, rounded to float32
 * once: the chunks cannot be seen in them.
 */
export function* headChunks(
  head: HostHead,
  rows: number,
  wanted: (t: number) => boolean,
): Generator<HeadRow[], void> {
  const { chunkRows, vocab, width } = head;
  const all = Array.from({ length: rows }, (_, t) => t).filter(wanted);
  const buffer = new Float32Array(Math.min(chunkRows, all.length) * vocab);
  for (let first = 0; first < all.length; first += chunkRows) {
    const chunk = all.slice(first, first + chunkRows).map((t, i) => ({
      t,
      hidden: widenLogits(head.hidden.subarray(t * width, (t + 1) * width), head.hiddenDtype),
      logits: buffer.subarray(i * vocab, (i + 1) * vocab),
    }));
    for (let v = 0; v < vocab; v++) {
      const weights = weightRow(head, v);
      for (const { hidden, logits } of chunk) {
        let sum = 0;
        for (let k = 0; k < width; k++) sum += hidden[k] * weights[k];
        logits[v] = sum;
      }
    }
    yield chunk;
  }
}
