import { NAME_POOLS } from "./name-pools.js";

const list = (words: string): string[] => words.split(" ");

/** Programs of the command language that TinyTerm's worlds use. */
const PROGRAMS = list("bash cat cd cp echo find grep head ls mkdir mv pwd sort submit tail touch wc");

/** First words of instructions. */
const VERBS = list("read visit mark move copy rename count lines fix");

/** What the tokenizer of TinyTerm holds as single tokens. */
export const LEXICON = {
  /** Commands with the space before their operand, and what bash, its programs and the harness say. Matched before anything else. */
  phrases: [
    ...[...PROGRAMS, ...VERBS].map((word) => `${word} `),
    ...PROGRAMS.map((program) => `${program}: `),
    "bash: line 1: cd: ",
    "/home/agent",
    "sort: cannot read: ",
    "sort: read failed: ",
    "ls: cannot access '",
    "head: cannot open '",
    "tail: cannot open '",
    "find: '",
    "mv: cannot stat '",
    "cp: cannot stat '",
    "mv: cannot move '",
    "cp: cannot create regular file '",
    "cp: -r not specified; omitting directory '",
    "' to '",
    "' and '",
    "' are the same file",
    "touch: cannot touch '",
    "mkdir: cannot create directory '",
    "run: line 1: ",
    "command not found",
    "failed: ",
    "passed",
    "run ended with status ",
    "run printed ",
    "' for reading: ",
    "': ",
    ": ",
    "No such file or directory",
    "Is a directory",
    "Not a directory",
    "[0] ~",
    "[1] ~",
    "[2] ~",
    "[127] ~",
    "-n 1 ",
    "-l ",
    "-w ",
    "-c ",
    " | ",
    " > ",
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
    // What comes before the output of an untidy action.
    "WARNINGS:",
    "more than one line",
    "prompt sign",
    "extra spaces",
  ],
  words: [
    ...PROGRAMS,
    // What tasks make and name besides the worlds' own words: a mark, an answer, scripts, and programs that do not exist.
    ...list("here done run check show open print"),
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
