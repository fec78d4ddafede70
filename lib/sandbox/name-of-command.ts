import type { SharedCommand } from "./shared-command.js";

/** Two commands of one name do the same in the same state. A deadline is no part of it: what meets one is not remembered. */
export function nameOfCommand(command: SharedCommand): string {
  const cap = command.limits.maxOutputBytes ?? "";
  return command.kind === "once"
    ? `once\0${cap}\0${command.script}`
    : `exec\0${cap}\0${command.cwd}\0${command.line}`;
}
