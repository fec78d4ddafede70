import { parseStage, pathProblem, type Stage } from "./parse-stage.js";
import { resolveInside } from "./resolve-inside.js";

/** A command line that may run, rendered anew from what was understood, or the reason why it may not. */
export type ParsedCommand = { ok: true; line: string; program: string } | { ok: false; reason: string };

/** Where a command line is read. */
export interface CommandContext {
  /** Directory the shell stands in, relative to the task root, as `ExecResult.cwd`. */
  cwd: string;
  /**
   * Paths, relative to the task root, of the scripts that `bash` may run; without any there is no `bash`. Their text is not looked at here:
   * whoever names scripts asks `scriptProblem` before running one.
   */
  scripts?: readonly string[];
}

/** Longest command line, in characters. */
export const maxCommandLength = 256;

/**
 * Reads a model's command line in the closed command language (`command-grammar.ts`): listed programs and flags, operands inside
 * the task root as seen from `context.cwd`, `|` between programs, one final `>` or `>>`. `line` is
 * built from the parsed structure, never from the text. A reason is made of fixed words only. Never throws.
 */
export function parseCommand(text: string, context: CommandContext): ParsedCommand {
  if (text.length > maxCommandLength) return refuse("line too long");
  if (!/^[A-Za-z0-9._/|> -]*$/.test(text)) return refuse("character not allowed");
  // Next to `>`, a number would choose another descriptor.
  if (/(^|[ |])[0-9]+>/.test(text) || /> *>>|>>>|> *\|/.test(text)) return refuse("redirection not allowed");
  const redirected = /^([^>]*)(>>?)([^>]*)$/.exec(text);
  if (redirected === null && text.includes(">")) return refuse("only one redirection at the end");
  const stages: Stage[] = [];
  for (const part of (redirected?.[1] ?? text).split("|")) {
    const words = splitWords(part);
    if (words.length === 0) return refuse("missing program");
    const stage = parseStage(words, context.cwd);
    const scripts = words[0] === "bash" ? (context.scripts ?? []) : undefined;
    if (scripts?.length === 0) return refuse("unknown program");
    if (typeof stage === "string") return refuse(stage);
    if (scripts?.includes((resolveInside(context.cwd, stage.operands[0] ?? "") ?? []).join("/")) === false)
      return refuse("bash: path not allowed");
    stages.push(stage);
  }
  const problem = pipeProblem(stages, redirected !== null);
  if (problem !== undefined) return refuse(problem);
  const program = stages[0]?.program ?? "";
  const pipe = renderPipe(stages);
  if (redirected === null) return { ok: true, line: pipe, program };
  const target = splitWords(redirected[3] ?? "");
  if (target.length === 0) return refuse("missing path after redirection");
  const [path = ""] = target;
  const targetProblem =
    target.length > 1 ? "only one redirection at the end" : pathProblem(context.cwd, path);
  if (targetProblem !== undefined) return refuse(targetProblem);
  // Opened before the first program starts: whether `ls | sort > out` lists `out` must not be a race.
  const body = pipe.includes("|") ? `{ ${pipe}; }` : pipe;
  return { ok: true, line: `${body} ${redirected[2]} ${path}`, program };
}

const refuse = (reason: string): ParsedCommand => ({ ok: false, reason });

const splitWords = (text: string) => text.split(" ").filter((word) => word !== "");

function pipeProblem(stages: readonly Stage[], redirected: boolean): string | undefined {
  for (const [index, stage] of stages.entries()) {
    const { program, rule, flags } = stage;
    if (rule.position === "alone" && stages.length > 1) return `${program}: not allowed in a pipe`;
    if (rule.position === "alone" && redirected) return `${program}: redirection not allowed`;
    if (index === 0) continue;
    if (rule.position !== "filter") return `${program}: not allowed after a pipe`;
    if (pathCount(stage) > 0 || (program === "grep" && flags.has("-r")))
      return `${program}: no path after a pipe`;
  }
  return undefined;
}

const pathCount = ({ rule, operands }: Stage) =>
  rule.operands.kind === "word" ? 0 : operands.length - (rule.operands.kind === "pattern" ? 1 : 0);

/**
 * Programs that write nothing before the end of their input. A program with several paths may write both lines and errors; what
 * follows it must not answer the lines while the errors are still coming, or their order would be a race.
 */
const waits: ReadonlySet<string> = new Set(["sort", "tail", "wc"]);

function renderPipe(stages: readonly Stage[]): string {
  const parts: string[] = [];
  for (const [index, stage] of stages.entries()) {
    parts.push(renderStage(stage));
    const { sorted } = stage.rule;
    const unsorted = sorted === "always" || (sorted !== undefined && stage.flags.has(sorted));
    const next = stages[index + 1];
    if (unsorted && !(next?.program === "sort" && next.flags.size === 0)) parts.push("sort");
    else if (index === 0 && next !== undefined && !waits.has(next.program) && pathCount(stage) > 1) {
      parts.push("tail -n 999999");
    }
  }
  return parts.join(" | ");
}

function renderStage({ program, rule, flags, operands }: Stage): string {
  const rendered = [...flags].map(([flag, value]) => (value === undefined ? flag : `${flag} ${value}`));
  // find wants its starting points before its tests.
  const words = rule.longFlags ? [...operands, ...rendered] : [...rendered, ...operands];
  return [program, ...words].join(" ");
}
