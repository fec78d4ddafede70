/**
 * Byte-pair encoding, the textbook way: again and again the most frequent pair of neighbours becomes one symbol. Pairs of equal
 * count are taken in code-unit order, so the same words always give the same merges.
 *
 * @param words pre-tokens, spelt in the byte-level alphabet, with their counts.
 * @param known symbols that take no room in the vocabulary because they are in it already.
 * @param room how many new symbols to make.
 */
export function trainBpe(
  words: ReadonlyMap<string, number>,
  known: ReadonlySet<string>,
  room: number,
): { merges: [string, string][]; symbols: string[] } {
  const corpus = [...words].map(([word, count]) => ({ symbols: [...word], count }));
  const merges: [string, string][] = [];
  const symbols: string[] = [];
  while (symbols.length < room) {
    const counts = new Map<string, number>();
    for (const word of corpus)
      for (let i = 0; i + 1 < word.symbols.length; i++) {
        const pair = `${word.symbols[i]} ${word.symbols[i + 1]}`;
        counts.set(pair, (counts.get(pair) ?? 0) + word.count);
      }
    let best: string | undefined;
    for (const [pair, count] of counts) {
      const bestCount = best === undefined ? 1 : (counts.get(best) ?? 0);
      if (count > bestCount || (best !== undefined && count === bestCount && pair < best)) best = pair;
    }
    if (best === undefined) break;
    const [left, right] = best.split(" ");
    merges.push([left, right]);
    if (!known.has(left + right)) symbols.push(left + right);
    for (const word of corpus)
      for (let i = 0; i + 1 < word.symbols.length; i++)
        if (word.symbols[i] === left && word.symbols[i + 1] === right)
          word.symbols.splice(i, 2, left + right);
  }
  return { merges, symbols };
}
