/** What one command did. stdout and stderr share one pipe, in the order written. */
export interface ExecResult {
  output: string;
  /** Exit status of the command; 124 when `timedOut`. */
  exitCode: number;
  /** Working directory afterwards, relative to the sandbox root ("" is the root itself). */
  cwd: string;
  /** The output cap cut the output. */
  truncated: boolean;
  /** The deadline ended the command and everything it started. */
  timedOut: boolean;
}
