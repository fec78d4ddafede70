import { formatDuration } from "./format-duration.js";
import type { Metrics } from "./metrics.js";

export interface ProgressOptions {
  /** Where to write; standard error by default, so that standard output stays clean. */
  stream?: { write(text: string): unknown; isTTY?: boolean; columns?: number };
  /** Steps of the whole run. */
  steps: number;
  /** Print nothing but notes. */
  quiet?: boolean;
  /** Default: `process.env`. */
  environment?: { NO_COLOR?: string; TERM?: string };
}

/**
 * Tells how a run goes: one status line that renews itself on a terminal, one plain line per step elsewhere. NO_COLOR is honoured.
 */
export class Progress {
  private readonly stream: { write(text: string): unknown; isTTY?: boolean; columns?: number };
  private readonly options: ProgressOptions;
  private readonly live: boolean;
  private readonly color: boolean;
  private statusShown = false;
  private durations: number[] = [];
  private last = "";

  constructor(options: ProgressOptions) {
    const environment = options.environment ?? process.env;
    this.stream = options.stream ?? process.stderr;
    this.options = options;
    this.live = this.stream.isTTY === true && environment.TERM !== "dumb" && !options.quiet;
    this.color = this.live && !environment.NO_COLOR;
  }

  /** What the current step is doing, for the status line of a terminal. */
  phase(step: number, what: string): void {
    if (!this.live) return;
    const head = `step ${step}/${this.options.steps}  ${what}`;
    this.status(this.last === "" ? head : `${head}  |  ${this.last}`);
  }

  /** A step is done. `durationMs` is its wall-clock time, `tokens` what it sampled and trained on. */
  step(step: number, metrics: Metrics, durationMs: number, tokens: number): void {
    this.durations = [...this.durations.slice(-19), durationMs];
    const mean = this.durations.reduce((sum, each) => sum + each, 0) / this.durations.length;
    const parts: string[] = [];
    const number = (key: string): number | undefined =>
      typeof metrics[key] === "number" ? metrics[key] : undefined;
    const success = number("reward/mean");
    if (success !== undefined) parts.push(`success ${this.paint("32", `${(100 * success).toFixed(1)} %`)}`);
    const nll = number("observation/nll");
    if (nll !== undefined) parts.push(`observation nll ${nll.toFixed(3)}`);
    const actionNll = number("policy/action_nll");
    if (success === undefined && actionNll !== undefined) parts.push(`action nll ${actionNll.toFixed(3)}`);
    const held = number("eval/success");
    if (held !== undefined) parts.push(`eval ${this.paint("36", `${(100 * held).toFixed(1)} %`)}`);
    const heldNll = number("eval/observation_nll");
    if (heldNll !== undefined) parts.push(`eval nll ${heldNll.toFixed(3)}`);
    const excluded = number("rollout/excluded") ?? 0;
    if (excluded > 0) parts.push(this.paint("31", `${excluded} excluded`));
    parts.push(`${Math.round((1000 * tokens) / Math.max(1, durationMs))} tokens/s`);
    parts.push(`${formatDuration(mean * Math.max(0, this.options.steps - step))} left`);
    this.last = parts.join("  ");
    if (this.options.quiet) return;
    if (this.live) this.status(`step ${step}/${this.options.steps}  ${this.last}`);
    else this.stream.write(`step ${step}/${this.options.steps}  ${this.last}\n`);
  }

  /** A line that stays. */
  note(text: string): void {
    this.clear();
    this.stream.write(`${text}\n`);
  }

  /** Leaves the last status line standing. */
  end(): void {
    if (this.statusShown) this.stream.write("\n");
    this.statusShown = false;
  }

  private status(text: string): void {
    this.clear();
    this.stream.write(this.fit(text));
    this.statusShown = true;
  }

  private clear(): void {
    if (this.statusShown) this.stream.write("\r\x1b[2K");
    this.statusShown = false;
  }

  /** Cuts to the terminal's width, so that the line can be renewed; escape sequences take no room. */
  private fit(text: string): string {
    const width = (this.stream.columns ?? 80) - 1;
    let room = width;
    let result = "";
    for (const piece of text.split(/(\x1b\[[0-9;]*m)/)) {
      if (piece.startsWith("\x1b")) result += piece;
      else {
        result += piece.slice(0, Math.max(0, room));
        room -= piece.length;
      }
    }
    return result;
  }

  private paint(code: string, text: string): string {
    return this.color ? `\x1b[${code}m${text}\x1b[0m` : text;
  }
}
