import { NAME_POOLS } from "./name-pools.js";

const list = (words: string): string[] => words.split(" ");

/** Programs of the command language that TinyTerm's worlds use. */
const PROGRAMS = list("cat cd echo find head ls pwd sort submit tail wc");

/** What the tokenizer of TinyTerm holds as single tokens. */
export const LEXICON = {
  /** Commands with the space before their operand, and what bash, its programs and the harness say. Matched before anything else. */
  phrases: [
    ...[...PROGRAMS, "read", "visit"].map((word) => `${word} `),
    ...PROGRAMS.map((program) => `${program}: `),
    "bash: line 1: cd: ",
    "/home/agent",
    "sort: cannot read: ",
    "sort: read failed: ",
    "ls: cannot access '",
    "head: cannot open '",
    "tail: cannot open '",
    "find: '",
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
    "-w ",
    "-c ",
    " | ",
    "..",
    // What is answered instead of running an action.
    "action too long",
    "action malformed",
    "unknown program",
    "missing program",
    "not allowed",
    "character ",
    "redirection ",
    "word ",
    "path ",
    "leaves the task",
    "missing operand",
    "too many operands",
    "unknown flag",
    "output cut",
    "timed out",
  ],
  words: [
    ...PROGRAMS,
    ...Object.values(NAME_POOLS).flatMap((pool) => [...pool.directories, ...pool.files, ...pool.words]),
  ],
  /** Text from which the remaining merges are learned. */
  corpus: [
    "bash: command not found",
    "only one redirection at the end",
    "absolute path not allowed after a pipe, not allowed in a pipe",
    "missing path after redirection",
    "bad value of a flag, invalid option, invalid number of lines",
    "the shell stands in that directory",
    "cannot remove, cannot create directory: file exists, permission denied",
    "error reading the standard input, write error",
    "total lines words bytes",
  ],
};
