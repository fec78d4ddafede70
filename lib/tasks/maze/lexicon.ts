/** What the tokenizer of the maze holds as single tokens. */
export const LEXICON = {
  phrases: ["open ", "distance ", "wall ", "not a move", "action too long", "action malformed", " by "],
  words: [
    ..."maze up down left right open distance wall".split(" "),
    ...Array.from({ length: 64 }, (_, n) => `${n}`),
  ],
  corpus: [],
};
