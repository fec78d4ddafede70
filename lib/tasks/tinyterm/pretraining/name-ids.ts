import type { Tokenizer } from "../../../tokens/tokenizer.js";
import { NAME_POOLS } from "../name-pools.js";

/** Ids of all names of all pools: copying is to be learned for every one of them, also those no transcript shows. */
export function nameIds(tokenizer: Tokenizer): number[] {
  return Object.values(NAME_POOLS)
    .flatMap((pool) => [...pool.directories, ...pool.files, ...pool.words])
    .flatMap((name) => tokenizer.encodeText(name));
}
