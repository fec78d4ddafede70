/** What may follow a flag: nothing, a whole number, one letter, a name, or a file type. */
export type FlagValue = "none" | "number" | "letter" | "name" | "type";

/** What a program's operands are: paths inside the task, or words that name nothing. `pattern` is one word, then paths. */
export type OperandKind = "path" | "word" | "pattern";

export interface ProgramRule {
  /**
   * `alone`: neither pipe nor redirection, because it changes files or the shell. `source`: may start a pipe. `filter`: may also
   * follow a pipe, then without paths, so that at most one program of a pipe can write an error.
   */
  position: "alone" | "source" | "filter";
  flags: Readonly<Record<string, FlagValue>>;
  operands: { kind: OperandKind; min: number; max: number };
  /** Flags of more than one letter, so letters are not split (find). */
  longFlags?: boolean;
  /** `-3` means `-n 3`. */
  numberFlag?: boolean;
  /** Output order follows the directory's own order unless sorted: always, or with this flag. */
  sorted?: "always" | "-r";
}

const many = 32;
const paths = (min: number, max = many) => ({ kind: "path", min, max }) as const;

/**
 * The closed command language: every program and flag that a model may use in the local sandbox. Nothing here shows a time, a
 * process, a user, a size on disk or an absolute path, follows a file, starts a program, or makes a link. `bash` is in it only where a task
 * declares scripts, and runs nothing else; see `scriptProblem`.
 */
export const commandGrammar: Readonly<Record<string, ProgramRule>> = {
  bash: { position: "alone", flags: {}, operands: paths(1, 1) },
  cat: { position: "filter", flags: { "-n": "none" }, operands: paths(0) },
  cd: { position: "alone", flags: {}, operands: paths(0, 1) },
  cp: { position: "alone", flags: { "-r": "none" }, operands: paths(2) },
  cut: {
    position: "filter",
    flags: { "-c": "number", "-d": "letter", "-f": "number" },
    operands: paths(0),
  },
  echo: { position: "source", flags: { "-n": "none" }, operands: { kind: "word", min: 0, max: many } },
  find: {
    position: "source",
    flags: {
      "-maxdepth": "number",
      "-mindepth": "number",
      "-type": "type",
      "-name": "name",
      "-empty": "none",
    },
    operands: paths(0),
    longFlags: true,
    sorted: "always",
  },
  grep: {
    position: "filter",
    flags: {
      "-c": "none",
      "-h": "none",
      "-i": "none",
      "-l": "none",
      "-n": "none",
      "-o": "none",
      "-r": "none",
      "-v": "none",
      "-w": "none",
      "-x": "none",
    },
    operands: { kind: "pattern", min: 1, max: many },
    sorted: "-r",
  },
  head: { position: "filter", flags: { "-n": "number" }, operands: paths(0), numberFlag: true },
  ls: {
    position: "source",
    flags: {
      "-1": "none",
      "-A": "none",
      "-F": "none",
      "-R": "none",
      "-a": "none",
      "-d": "none",
      "-p": "none",
    },
    operands: paths(0),
  },
  mkdir: { position: "alone", flags: { "-p": "none" }, operands: paths(1) },
  mv: { position: "alone", flags: {}, operands: paths(2) },
  pwd: { position: "source", flags: {}, operands: paths(0, 0) },
  rm: { position: "alone", flags: { "-f": "none", "-r": "none" }, operands: paths(1) },
  rmdir: { position: "alone", flags: {}, operands: paths(1) },
  sort: { position: "filter", flags: { "-n": "none", "-r": "none", "-u": "none" }, operands: paths(0) },
  submit: { position: "alone", flags: {}, operands: { kind: "word", min: 1, max: 1 } },
  tail: { position: "filter", flags: { "-n": "number" }, operands: paths(0), numberFlag: true },
  touch: { position: "alone", flags: {}, operands: paths(1) },
  uniq: {
    position: "filter",
    flags: { "-c": "none", "-d": "none", "-u": "none" },
    operands: paths(0, 1),
  },
  wc: { position: "filter", flags: { "-c": "none", "-l": "none", "-w": "none" }, operands: paths(0) },
};
