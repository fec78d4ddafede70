/** Disjoint words from which worlds are made. Every one is a single token of the tokenizer, wherever it stands. */
export interface NamePools {
  directories: readonly string[];
  files: readonly string[];
  /** What the files hold. */
  words: readonly string[];
}

const list = (words: string): readonly string[] => words.split(" ");

/**
 *   find    tasks of the splits train and val
 *   ood     tasks of the split ood: names no task of train or val has
 *   other   with those of ood, the worlds of the family `visit`, on whose transcripts a starting policy is pretrained: as a language
 *           model knows words it was never given a task about
 */
export const NAME_POOLS: Readonly<Record<"find" | "ood" | "other", NamePools>> = {
  find: {
    directories: list("oak elm ash fir yew pine palm teak cedar birch maple rowan"),
    files: list("fig plum pear kiwi lime mint rye oat corn bean pea leek kale beet onion basil"),
    words: list("red blue teal gold pink gray lilac amber ivory ruby jade onyx opal pearl zinc tin"),
  },
  ood: {
    directories: list("attic barn cabin cave dock fort hall inn mill shed"),
    files: list("bread bun cake curry fudge jam jelly pasta pie pizza soup stew taco toast"),
    words: list("cloud dawn dusk fog frost hail mist moon rain snow star wind"),
  },
  other: {
    directories: list("bay cove dune fjord glen isle lake marsh moor pond reef vale"),
    files: list("ant bat bee cod cow crab crow deer dove duck eel elk fox frog goat hare"),
    words: list("anvil bell boat book bowl broom chair clock cup drum fan fork harp kite lamp nail"),
  },
};
