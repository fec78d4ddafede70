/** What the tokenizer of the maze holds as single tokens. */
export const LEXICON = {
  phrases: [
    "maze ",
    " by ",
    "up ",
    "down ",
    "left ",
    "right ",
    "wall ",
    "not a move",
    "action too long",
    "action malformed",
  ],
  words: [..."up down left right".split(" "), ...Array.from({ length: 64 }, (_, n) => `${n}`)],
  corpus: [],
};
