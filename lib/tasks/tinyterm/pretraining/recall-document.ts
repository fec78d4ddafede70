import { CounterRandom } from "../../../random/counter-random.js";
import { deriveSeed } from "../../../random/derive-seed.js";
import type { Tokenizer } from "../../../tokens/tokenizer.js";
import type { Document } from "./document.js";
import { nameIds } from "./name-ids.js";

/** Chance that a line asks for a known key. */
const RECALL = 0.6;

/**
 * Lines `key/value`; most keys come again, with the value they had. To predict a value one must find its key in the context. Values
 * of known keys, and everything between key and line end, are marked a.
 */
export function recallDocument(tokenizer: Tokenizer, seed: number, index: number, length = 64): Document {
  const random = new CounterRandom(deriveSeed(seed, "pretraining/recall", index));
  const names = random.shuffle(nameIds(tokenizer)).values();
  const [slash] = tokenizer.encodeText("/");
  const [lineEnd] = tokenizer.encodeText("\n");
  const ids = [tokenizer.encodeSpecial("<|endoftext|>")];
  let roles = "c";
  const pairs: [number, number][] = [];
  while (ids.length < length) {
    const recalls = pairs.length > 0 && random.next() < RECALL;
    const [key, value] = recalls
      ? random.pick(pairs)
      : [names.next().value as number, names.next().value as number];
    if (!recalls) pairs.push([key, value]);
    ids.push(key, slash, value, lineEnd);
    roles += recalls ? "oaaa" : "oaoa";
  }
  return { id: `pretraining/recall/${index}`, ids: ids.slice(0, length), roles: roles.slice(0, length) };
}
