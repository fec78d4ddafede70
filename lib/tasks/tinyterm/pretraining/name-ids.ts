import type { Tokenizer } from "../../../tokens/tokenizer.js";
import { NAME_POOLS } from "../name-pools.js";

const known = new WeakMap<Tokenizer, readonly number[]>();

/** Ids of all names of all pools: copying is to be learned for every one of them, also those no transcript shows. */
export function nameIds(tokenizer: Tokenizer): readonly number[] {
  const ids = known.get(tokenizer) ?? encodeNames(tokenizer);
  known.set(tokenizer, ids);
  return ids;
}

function encodeNames(tokenizer: Tokenizer): number[] {
  return Object.values(NAME_POOLS)
    .flatMap((pool) => [...pool.directories, ...pool.files, ...pool.words])
    .flatMap((name) => tokenizer.encodeText(name));
}
