import { commandGrammar, type FlagValue, type ProgramRule } from "./command-grammar.js";
import { resolveInside } from "./resolve-inside.js";

/** One program of a pipe, understood. */
export interface Stage {
  program: string;
  rule: ProgramRule;
  /** Flags and their values in the grammar's order, each flag once. */
  flags: ReadonlyMap<string, string | undefined>;
  operands: readonly string[];
}

const wordPattern = /^[A-Za-z0-9._][A-Za-z0-9._-]*(\/[A-Za-z0-9._-]+)*$/;
const valuePatterns: Record<Exclude<FlagValue, "none">, RegExp> = {
  number: /^[0-9]{1,6}$/,
  letter: /^[A-Za-z0-9._-]$/,
  name: /^[A-Za-z0-9._][A-Za-z0-9._-]*$/,
  type: /^[df]$/,
};

/** The file in which `submit` leaves its word. */
const reserved = ".submitted";

/** Why a path may not be used from `cwd`, or undefined when it may. */
export function pathProblem(cwd: string, path: string): string | undefined {
  if (path.startsWith("/")) return "absolute path not allowed";
  if (!wordPattern.test(path)) return "path not allowed";
  const parts = resolveInside(cwd, path);
  if (parts === undefined) return "path leaves the task";
  return parts.length === 1 && parts[0] === reserved ? "path not allowed" : undefined;
}

/** Reads one program with its flags and operands; a string is the reason why not. */
export function parseStage(words: readonly string[], cwd: string): Stage | string {
  const [program = "", ...rest] = words;
  const rule = Object.hasOwn(commandGrammar, program) ? commandGrammar[program] : undefined;
  if (rule === undefined) return "unknown program";
  const flags = new Map<string, string | undefined>();
  const operands: string[] = [];
  for (let i = 0; i < rest.length; i++) {
    const word = rest[i] ?? "";
    if (!word.startsWith("-")) {
      operands.push(word);
      continue;
    }
    if (program === "echo" && operands.length > 0) return `${program}: unknown flag`;
    const taken = takeFlag(rule, word, rest[i + 1], flags);
    if (taken === undefined) return `${program}: unknown flag`;
    if (taken === "value") return `${program}: bad value of a flag`;
    if (taken === 2) i++;
  }
  const problem = operandProblem(program, rule, flags, operands, cwd);
  if (problem !== undefined) return problem;
  const ordered = Object.keys(rule.flags).filter((flag) => flags.has(flag));
  return { program, rule, flags: new Map(ordered.map((flag) => [flag, flags.get(flag)])), operands };
}

/** Adds the flags of one word; returns the words consumed, "value" for a bad value, undefined for an unknown flag. */
function takeFlag(
  rule: ProgramRule,
  word: string,
  next: string | undefined,
  flags: Map<string, string | undefined>,
): 1 | 2 | "value" | undefined {
  const kindOf = (flag: string) => (Object.hasOwn(rule.flags, flag) ? rule.flags[flag] : undefined);
  const whole = rule.longFlags || word.length === 2 ? kindOf(word) : undefined;
  if (whole === "none") {
    flags.set(word, undefined);
    return 1;
  }
  if (whole !== undefined) return setValue(flags, word, whole, next) ? 2 : "value";
  if (rule.longFlags) return undefined;
  if (rule.numberFlag && /^-[0-9]+$/.test(word)) {
    return setValue(flags, "-n", "number", word.slice(1)) ? 1 : "value";
  }
  const first = word.slice(0, 2);
  const kind = kindOf(first);
  if (kind !== undefined && kind !== "none") return setValue(flags, first, kind, word.slice(2)) ? 1 : "value";
  const letters = [...word.slice(1)].map((letter) => `-${letter}`);
  if (letters.length === 0 || letters.some((flag) => kindOf(flag) !== "none")) return undefined;
  for (const flag of letters) flags.set(flag, undefined);
  return 1;
}

function setValue(
  flags: Map<string, string | undefined>,
  flag: string,
  kind: Exclude<FlagValue, "none">,
  value: string | undefined,
): boolean {
  if (value === undefined || !valuePatterns[kind].test(value)) return false;
  flags.set(flag, kind === "number" ? String(Number(value)) : value);
  return true;
}

function operandProblem(
  program: string,
  rule: ProgramRule,
  flags: ReadonlyMap<string, string | undefined>,
  operands: readonly string[],
  cwd: string,
): string | undefined {
  const { kind, min, max } = rule.operands;
  if (operands.length < min) return `${program}: missing operand`;
  if (operands.length > max) return `${program}: too many operands`;
  for (const [index, operand] of operands.entries()) {
    if (kind === "word" || (kind === "pattern" && index === 0)) {
      if (!wordPattern.test(operand)) return `${program}: word not allowed`;
      if (program === "submit" && operand.includes("/")) return `${program}: word not allowed`;
      continue;
    }
    const problem = pathProblem(cwd, operand);
    if (problem !== undefined) return `${program}: ${problem}`;
  }
  const resolved = (path: string) => (resolveInside(cwd, path) ?? []).join("/");
  // A moved or removed directory under the shell would make `..` on disk differ from `..` in the text.
  const leaving = program === "mv" ? operands.slice(0, -1) : /^rm(dir)?$/.test(program) ? operands : [];
  if (leaving.some((path) => holds(resolved(path), cwd)))
    return `${program}: the shell stands in that directory`;
  // What such a copy makes depends on the directory's own order.
  const target = resolved(operands.at(-1) ?? "");
  if (
    program === "cp" &&
    flags.has("-r") &&
    operands.slice(0, -1).some((path) => holds(resolved(path), target))
  ) {
    return "cp: cannot copy a directory into itself";
  }
  return undefined;
}

/** Is `inner` the directory `outer` or inside it? */
function holds(outer: string, inner: string): boolean {
  return outer === "" || inner === outer || inner.startsWith(`${outer}/`);
}
