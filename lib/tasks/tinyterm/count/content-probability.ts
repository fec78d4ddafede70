import type { CountWorld } from "./count-world.js";

/** What is known of the lines of one file. */
export interface LineEvidence {
  /** All of them, in order. */
  lines?: readonly string[];
  /** How many there are. */
  total?: number;
  /** How many are a word, by word. */
  counts: Map<string, number>;
  /** The word that the instruction asks for. */
  asked?: string;
}

/**
 * Probability that the files of a random world hold what is known of them, given that the word asked for is one of its file's two. Exact: a
 * sum over the ways to give the words that were named, and words that were not, to the files.
 */
export function contentProbability(evidence: readonly LineEvidence[], world: CountWorld): number {
  const pool = world.pools.words;
  const named = [
    ...new Set(
      evidence.flatMap(({ lines, counts, asked }) =>
        [...(lines ?? []), ...counts.keys(), asked ?? []].flat(),
      ),
    ),
  ].filter((word) => pool.includes(word));
  const memo = new Map<string, number>();
  /** Of the files from `index` on, when the words marked in `used` are taken. */
  const rest = (index: number, used: number): number => {
    if (index === evidence.length) return 1;
    const key = `${index} ${used}`;
    const known = memo.get(key);
    if (known !== undefined) return known;
    let sum = 0;
    for (const first of choices(used, 2 * index))
      for (const second of choices(first.used, 2 * index + 1)) {
        const likely = linesProbability(evidence[index], first.word, second.word, world);
        if (likely > 0) sum += first.share * second.share * likely * rest(index + 1, second.used);
      }
    memo.set(key, sum);
    return sum;
  };
  /** The next draw: each named word that is left, or, as one choice, all others. */
  const choices = (used: number, drawn: number): { word?: string; share: number; used: number }[] => {
    const left = pool.length - drawn;
    const open = named.flatMap((word, i) =>
      used & (1 << i) ? [] : [{ word, share: 1 / left, used: used | (1 << i) }],
    );
    return [...open, { share: (left - open.length) / left, used }];
  };
  const asked = evidence.some((file) => file.asked !== undefined);
  return asked ? (rest(0, 0) * pool.length) / (world.anyWord ? 2 : 1) : rest(0, 0);
}

/** Of what is known of one file's lines, given its two words; a word that was not named is undefined. */
function linesProbability(
  { lines, total, counts, asked }: LineEvidence,
  first: string | undefined,
  second: string | undefined,
  { mostOfFirst, mostOfSecond, anyWord }: CountWorld,
): number {
  if (asked !== undefined && asked !== first && !(anyWord && asked === second)) return 0;
  let sum = 0;
  for (let k = 1; k <= mostOfFirst; k++)
    for (let m = 0; m <= mostOfSecond; m++) {
      const is = (word: string): number => (word === first ? k : word === second ? m : 0);
      if (total !== undefined && total !== k + m) continue;
      if ([...counts].some(([word, count]) => is(word) !== count)) continue;
      if (!lines) sum += 1;
      else if (lines.length === k + m && [...new Set(lines)].every((word) => is(word) === count(lines, word)))
        sum += 1 / binomial(k + m, k);
    }
  return sum / mostOfFirst / (mostOfSecond + 1);
}

const count = (lines: readonly string[], word: string): number =>
  lines.filter((line) => line === word).length;

function binomial(n: number, k: number): number {
  let product = 1;
  for (let i = 1; i <= k; i++) product = (product * (n - k + i)) / i;
  return product;
}
