import { CounterRandom } from "../../../random/counter-random.js";
import { deriveSeed } from "../../../random/derive-seed.js";
import type { Tokenizer } from "../../../tokens/tokenizer.js";
import type { Document } from "./document.js";
import { nameIds } from "./name-ids.js";

/** Chance that a line repeats an earlier one. */
const REPEAT = 0.6;

/**
 * Lines of 3 to 8 random names; most lines repeat an earlier line. To predict a repeat one must find its beginning in the context and
 * copy on. In a repeat everything after the first name is marked a.
 */
export function copyDocument(tokenizer: Tokenizer, seed: number, index: number, length = 64): Document {
  const random = new CounterRandom(deriveSeed(seed, "pretraining/copy", index));
  const names = nameIds(tokenizer);
  const [lineEnd] = tokenizer.encodeText("\n");
  const ids = [tokenizer.encodeSpecial("<|endoftext|>")];
  let roles = "c";
  const lines: number[][] = [];
  while (ids.length < length) {
    const repeats = lines.length > 0 && random.next() < REPEAT;
    const line = repeats
      ? random.pick(lines)
      : Array.from({ length: 3 + random.integer(6) }, () => random.pick(names));
    if (!repeats) lines.push(line);
    ids.push(...line, lineEnd);
    roles += repeats ? `o${"a".repeat(line.length)}` : "o".repeat(line.length + 1);
  }
  return { id: `pretraining/copy/${index}`, ids: ids.slice(0, length), roles: roles.slice(0, length) };
}
