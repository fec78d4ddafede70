/** Places where a run can be made to die, to try out resume. */
export type CrashPoint =
  | "trajectories-written"
  | "metrics-torn"
  | "metrics-written"
  | "checkpoint-files"
  | "checkpoint-before-rename"
  | "checkpoint-after-rename"
  | "resume-before-truncate"
  | "resume-mid-truncate";

/** Whether `ECHO_GRPO_CRASH_AT=<point>` or `<point>@<step>` names this place. */
export function crashesAt(point: CrashPoint, step: number): boolean {
  const wanted = process.env.ECHO_GRPO_CRASH_AT;
  return wanted === point || wanted === `${point}@${step}`;
}

/** Kills this process, as a power cut would, where `ECHO_GRPO_CRASH_AT` says so (docs/metrics.md lists the points). */
export function crashPoint(point: CrashPoint, step: number): void {
  if (crashesAt(point, step)) process.kill(process.pid, "SIGKILL");
}
