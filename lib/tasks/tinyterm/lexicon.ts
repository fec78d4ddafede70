import { NAME_POOLS } from "./name-pools.js";

/** What the tokenizer of TinyTerm holds as single tokens. */
export const LEXICON = {
  /** Commands with the space before their operand, and what bash and its programs say. Matched before anything else. */
  phrases: [
    ..."read visit cat cd echo find head ls mkdir mv pwd rm sort submit tail touch wc"
      .split(" ")
      .map((c) => `${c} `),
    ..."cat find head sort tail wc".split(" ").map((c) => `${c}: `),
    "bash: cd: ",
    "ls: cannot access '",
    "head: cannot open '",
    "' for reading: ",
    "': ",
    ": ",
    "No such file or directory",
    "Is a directory",
    "Not a directory",
    "[0] ~",
    "[1] ~",
    "[2] ~",
    "-n 1 ",
    "-l ",
    "..",
    // What the harness answers instead of running an action.
    "action too long",
    "action malformed",
    "not a command",
    "not allowed",
    "outside of ~",
    "timed out",
    "output cut",
  ],
  words: [
    ..."read visit cat cd echo find head ls mkdir mv pwd rm sort submit tail touch wc".split(" "),
    ...Object.values(NAME_POOLS).flatMap((pool) => [...pool.directories, ...pool.files, ...pool.words]),
  ],
  /** Text from which the remaining merges are learned. */
  corpus: [
    "bash: line 1: command not found",
    "missing operand after the file name",
    "cannot remove: permission denied",
    "cannot create directory: file exists",
    "cannot stat, cannot move to a subdirectory of itself",
    "error reading input from the standard input",
    "invalid option, invalid number of lines",
    "too many arguments, extra operand",
    "total lines words bytes",
  ],
};
