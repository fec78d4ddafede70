import type { ExecOptions } from "./sandbox.js";

/** What is asked of a sandbox that many share: a line in the shell, or a script in a fresh one. */
export type SharedCommand =
  | { kind: "exec"; line: string; cwd: string; limits: Omit<ExecOptions, "signal"> }
  | { kind: "once"; script: string; limits: Omit<ExecOptions, "signal"> };
