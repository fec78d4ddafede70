import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";

/** What a peer says about itself. */
export interface PeerGreeting {
  /** With its version. */
  name: string;
  threads: number;
  /** Instruction set it uses, in its own words. */
  capability?: string;
}

interface Waiting {
  resolve(answer: Record<string, unknown>): void;
  reject(error: Error): void;
}

const STDERR_KEPT = 4000;

/**
 * Another library in a process of its own, asked in JSON lines (the requests stand in torch_peer.py). It works only while it is asked, so that
 * its rounds can take turns with ours.
 */
export class Peer {
  private readonly process: ChildProcess;
  private readonly waiting = new Map<number, Waiting>();
  private nextId = 1;
  private said = "";
  private ended: Error | undefined;

  constructor(command: string, args: readonly string[], environment: Record<string, string> = {}) {
    this.process = spawn(command, args, {
      stdio: ["pipe", "pipe", "pipe"],
      env: { ...process.env, ...environment },
    });
    const { stdin, stdout, stderr } = this.process;
    stderr?.on("data", (chunk: Buffer) => {
      this.said = (this.said + chunk).slice(-STDERR_KEPT);
    });
    // A write to a process that has just ended fails here too; "close" says why it ended.
    stdin?.on("error", () => {});
    if (stdout) createInterface({ input: stdout }).on("line", (line) => this.answer(line));
    this.process.on("error", (error) => this.end(new Error(`it does not start: ${error.message}`)));
    this.process.on("close", (code, signal) => {
      const last = this.said.trim().split("\n").at(-1);
      this.end(new Error(`it ended (${signal ?? `status ${code}`})${last ? `: ${last}` : ""}`));
    });
  }

  /**
   * Asks for `what` and waits for the answer.
   * @throws Error that says in a few words why there is none; after `limitS` seconds the process is killed.
   */
  async ask(what: Record<string, unknown>, limitS: number): Promise<Record<string, unknown>> {
    if (this.ended) throw this.ended;
    const id = this.nextId++;
    const answered = new Promise<Record<string, unknown>>((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
    });
    const timer = setTimeout(() => {
      this.end(new Error(`no answer within ${limitS} s`));
      this.process.kill("SIGKILL");
    }, limitS * 1000);
    this.process.stdin?.write(`${JSON.stringify({ ...what, id })}\n`);
    try {
      const answer = await answered;
      if (typeof answer.error === "string") throw new Error(answer.error.split("\n")[0]);
      return answer;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends the process. */
  async close(): Promise<void> {
    const { process } = this;
    this.end(new Error("it was closed"));
    if (process.pid === undefined || process.exitCode !== null || process.signalCode !== null) return;
    const closed = new Promise((resolve) => process.once("close", resolve));
    process.stdin?.end();
    const timer = setTimeout(() => process.kill("SIGKILL"), 5000);
    await closed;
    clearTimeout(timer);
  }

  private answer(line: string): void {
    let answer: Record<string, unknown>;
    try {
      answer = JSON.parse(line) as Record<string, unknown>;
    } catch {
      this.end(new Error(`it answered no JSON: ${line.slice(0, 200)}`));
      this.process.kill("SIGKILL");
      return;
    }
    const id = Number(answer.id);
    const waiting = this.waiting.get(id);
    this.waiting.delete(id);
    waiting?.resolve(answer);
  }

  private end(error: Error): void {
    this.ended ??= error;
    for (const { reject } of this.waiting.values()) reject(this.ended);
    this.waiting.clear();
  }
}
