import type { BenchRows } from "./bench-rows.js";
import { lossError } from "./loss-error.js";
import type { PeerCase } from "./measure-beside.js";
import type { MissingPeer } from "./peers/missing-peer.js";
import { openJavascript } from "./peers/open-javascript.js";
import type { OpenPeer } from "./peers/open-peer.js";
import { openTorch } from "./peers/open-torch.js";
import { renderGreeting } from "./peers/render-greeting.js";

/** What is computed: [T, V] of a type, with or without the gradient. */
export interface LossQuestion {
  T: number;
  V: number;
  dtype: "float32" | "bfloat16";
  gradient: boolean;
  rows: BenchRows;
  /** Rows held against float64. */
  check: readonly number[];
}

/** A peer's case, with what it was found to compute. */
export type LossPeerCase = PeerCase & {
  /** Its time is that of a part of the rows: times this, it is that of all. */
  scale: number;
  /** Largest error against float64, once it has run. */
  error?: number;
};

/** JavaScript libraries need a hundred times as long and several copies of the logits: they get a part of the rows. */
const JAVASCRIPT_ROWS = 16;
const COMPILE_LIMIT_S = 180;
/** Of a gradient in units of its row's weight, or in nats: above it something else is computed. bfloat16 log-probabilities have 8 bits. */
const WRONG = { float32: 1e-3, bfloat16: 0.2 };

const JAVASCRIPT = ["jax-js", "TensorFlow.js"] as const;

/** The processes that the loss is compared with. */
export class LossPeers {
  private readonly opened: Map<string, OpenPeer | MissingPeer>;
  private readonly threads: number;

  private constructor(opened: Map<string, OpenPeer | MissingPeer>, threads: number) {
    this.opened = opened;
    this.threads = threads;
  }

  static async open(threads: number): Promise<LossPeers> {
    const opened = new Map<string, OpenPeer | MissingPeer>();
    opened.set("warm", await openTorch("warm", threads));
    opened.set("default", await openTorch("default", threads));
    // Compiling happens in a process of its own: when it takes too long it is killed.
    opened.set("compiled", await openTorch("warm", threads));
    for (const name of JAVASCRIPT) opened.set(name, await openJavascript(name));
    return new LossPeers(opened, threads);
  }

  /** What is not there, of those that the question would be put to. */
  missing(question: LossQuestion): MissingPeer[] {
    return this.asked(question).flatMap((one) => ("peer" in one ? [] : [one]));
  }

  /** A line on each library that is there. */
  greetings(question: LossQuestion): string[] {
    const lines = this.asked(question).flatMap((one) =>
      "peer" in one ? [renderGreeting(one.greeting)] : [],
    );
    return [...new Set(lines)];
  }

  cases(question: LossQuestion): LossPeerCase[] {
    const { dtype, gradient } = question;
    const torch: [name: string, key: string, form: string][] = [];
    const eager = (label: string, form: string): void => {
      torch.push([`PyTorch eager${label}, heap warm`, "warm", form]);
      torch.push([`PyTorch eager${label}, default allocator`, "default", form]);
    };
    eager("", "log_softmax");
    if (dtype === "bfloat16") eager(" in float32", "upcast");
    if (!gradient) torch.push(["PyTorch eager, gather - logsumexp, heap warm", "warm", "gather - logsumexp"]);
    torch.push(["torch.compile, heap warm", "compiled", dtype === "bfloat16" ? "upcast" : "log_softmax"]);
    if (gradient) {
      torch.push(["F.cross_entropy (an easier job), heap warm", "warm", "cross_entropy"]);
      torch.push(["F.cross_entropy (an easier job), default allocator", "default", "cross_entropy"]);
    }
    const cases = torch.flatMap(([name, key, form]) => this.torchCase(question, name, key, form));
    if (takesJavascript(question))
      for (const key of JAVASCRIPT) cases.push(...this.javascriptCase(question, key));
    return cases;
  }

  /**
   * Bytes of one call of each case of PyTorch above what was there before it, in another process with the default allocator, which gives large
   * blocks back. What cannot be measured is absent.
   */
  async peaks(cases: readonly LossPeerCase[]): Promise<Map<string, number>> {
    const bytes = new Map<string, number>();
    const opened = await openTorch("default", this.threads);
    if (!("peer" in opened)) return bytes;
    const { peer } = opened;
    for (const { name, request } of cases.filter(({ request }) => "form" in request))
      try {
        await peer.ask({ ...request, do: "prepare", case: name }, COMPILE_LIMIT_S);
        const { bytes: peak } = await peer.ask({ do: "peak", case: name }, COMPILE_LIMIT_S);
        if (typeof peak === "number") bytes.set(name, peak);
        await peer.ask({ do: "drop", case: name }, COMPILE_LIMIT_S);
      } catch {
        break;
      }
    await peer.close();
    return bytes;
  }

  async close(): Promise<void> {
    for (const one of this.opened.values()) if ("peer" in one) await one.peer.close();
  }

  private asked(question: LossQuestion): (OpenPeer | MissingPeer)[] {
    const javascript: readonly string[] = JAVASCRIPT;
    return [...this.opened].flatMap(([key, one]) =>
      javascript.includes(key) && !takesJavascript(question) ? [] : [one],
    );
  }

  private torchCase(question: LossQuestion, name: string, key: string, form: string): LossPeerCase[] {
    const opened = this.opened.get(key);
    if (!opened || !("peer" in opened)) return [];
    const request = { ...requestOf(question, question.T), form, compile: key === "compiled" };
    return [this.peerCase(question, name, opened, request, 1)];
  }

  private javascriptCase(question: LossQuestion, key: string): LossPeerCase[] {
    const opened = this.opened.get(key);
    if (!opened || !("peer" in opened)) return [];
    const scale = question.T / JAVASCRIPT_ROWS;
    const name = `${opened.greeting.name}, ${JAVASCRIPT_ROWS} rows times ${scale}`;
    return [this.peerCase(question, name, opened, requestOf(question, JAVASCRIPT_ROWS), scale)];
  }

  private peerCase(
    question: LossQuestion,
    name: string,
    { peer }: OpenPeer,
    request: Record<string, unknown>,
    scale: number,
  ): LossPeerCase {
    const made: LossPeerCase = { name, peer, request, scale, prepareLimitS: COMPILE_LIMIT_S };
    made.check = (computed) => {
      made.error = peerError(question, request.form === "cross_entropy", computed);
      if (!(made.error <= WRONG[question.dtype]))
        throw new Error(`it computes something else (error ${made.error.toPrecision(3)} against float64)`);
    };
    return made;
  }
}

/** They have float32 only. */
function takesJavascript({ dtype, gradient }: LossQuestion): boolean {
  return gradient && dtype === "float32";
}

function requestOf({ V, check, dtype, gradient, rows }: LossQuestion, T: number): Record<string, unknown> {
  const part = Object.entries(rows).map(([name, values]) => [name, [...values.subarray(0, T)]]);
  return { what: "loss", T, V, dtype, gradient, check, rows: Object.fromEntries(part) };
}

function peerError(question: LossQuestion, plain: boolean, computed: Record<string, unknown>): number {
  const { T, V, check, rows } = question;
  if (!question.gradient) {
    const logprobs = computed.logprobs as number[];
    return lossError(V, rows, check, { logprobs: check.map((t) => logprobs[t]) }).logprobs;
  }
  const bytes = Buffer.from(String(computed.gradient), "base64");
  const gradient = new Float32Array(check.length * V);
  new Uint8Array(gradient.buffer).set(bytes);
  // Plain cross-entropy: every row is an observation of weight 1 / T.
  const weights = { actionWeights: new Float32Array(T), observationWeights: new Float32Array(T).fill(1 / T) };
  return lossError(V, plain ? { ...rows, ...weights } : rows, check, { gradient }).gradient;
}
