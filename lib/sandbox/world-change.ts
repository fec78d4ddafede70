import type { ExecOptions } from "./sandbox.js";

/** What leads from one state of a sandbox to the next, or asks it something. */
export type WorldChange =
  | { kind: "write"; path: string; data: Uint8Array | string }
  | { kind: "exec"; line: string; cwd: string; limits: Omit<ExecOptions, "signal"> }
  | { kind: "once"; script: string; limits: Omit<ExecOptions, "signal"> };

/** Two changes of one name do the same in the same state. A deadline is no part of it: what meets one is not remembered. */
export function nameOfChange(change: WorldChange): string {
  if (change.kind === "write") {
    const { path, data } = change;
    return typeof data === "string"
      ? `write\0${path}\0text\0${data}`
      : `write\0${path}\0bytes\0${Buffer.from(data).toString("latin1")}`;
  }
  const cap = change.limits.maxOutputBytes ?? "";
  return change.kind === "once"
    ? `once\0${cap}\0${change.script}`
    : `exec\0${cap}\0${change.cwd}\0${change.line}`;
}
