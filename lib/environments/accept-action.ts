import { type CommandContext, parseCommand } from "../sandbox/parse-command.js";
import { tidyAction } from "./tidy-action.js";

/** What a terminal makes of an action before it runs anything. */
export type AcceptedAction =
  | {
      ok: true;
      /** As `tidyAction` mends it, and the warnings for that. */
      text: string;
      warnings: string[];
      /** As `parseCommand` renders it. */
      line: string;
      program: string;
    }
  | { ok: false; reason: string };

/** Where an action is taken, and what narrows the closed command language there. */
export interface ActionContext extends CommandContext {
  /** Why a command that the language allows is refused all the same. */
  commandProblem?(text: string, cwd: string): string | undefined;
}

/** Mends, parses and judges an action, as every terminal does and as whoever says what its answer is worth must. */
export function acceptAction(action: string, context: ActionContext): AcceptedAction {
  const { text, warnings } = tidyAction(action);
  const command = parseCommand(text, context);
  if (!command.ok) return command;
  const reason = context.commandProblem?.(text, context.cwd);
  return reason === undefined ? { ...command, text, warnings } : { ok: false, reason };
}
