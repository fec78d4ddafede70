import type { Harness } from "../agent/harness.js";
import { PolicyError } from "../errors/policy-error.js";
import type { SampleRequest } from "../policy/sample-request.js";
import type { SampleResult } from "../policy/sample-result.js";
import type { Segment } from "../tokens/segment.js";
import type { Transcript } from "../tokens/transcript.js";
import type { Deadline } from "./deadline.js";
import { cancellation, type Ending, failure } from "./ending.js";
import type { RolloutActor } from "./rollout-actor.js";

/** What `writeAction` needs of the rollout around it. */
export interface ActionContext {
  actor: RolloutActor;
  harness: Harness;
  transcript: Transcript;
  /** What the environment said last. */
  answer: readonly Segment[];
  /** Tokens left in the sequence, at least 1. */
  room: number;
  session: string;
  deadline: Deadline;
  signal: AbortSignal | undefined;
}

/** One action from the policy or the script, or the ending when there is none. A script's action has zeros for log-probabilities. */
export async function writeAction(context: ActionContext): Promise<SampleResult | Ending> {
  const { actor, harness, deadline } = context;
  if (actor.kind === "script") return scriptedAction(context, actor.agent.next.bind(actor.agent));
  const request: Omit<SampleRequest, "signal"> = {
    ids: context.transcript.ids,
    maxTokens: Math.min(harness.maxActionTokens, context.room),
    temperature: actor.temperature,
    stop: harness.stop,
    seed: actor.seed,
    session: context.session,
  };
  const raced = await deadline.race(async (signal) => {
    const result = await actor.policy.sample({ ...request, signal });
    checkSample(result, request);
    return result;
  });
  if (raced.kind === "done") return raced.value;
  if (raced.kind === "failed") return failure("policy_error", raced.error, "ERR_POLICY");
  return raced.kind === "timeout" ? { stopReason: "rollout_timeout" } : cancellation(context.signal);
}

function scriptedAction(
  context: ActionContext,
  next: (answer: readonly Segment[]) => string,
): SampleResult | Ending {
  const { harness, deadline, signal } = context;
  if (signal?.aborted) return cancellation(signal);
  if (deadline.signal.aborted) return { stopReason: "rollout_timeout" };
  let text: string;
  try {
    text = next(context.answer);
  } catch (error) {
    return failure("policy_error", error, "ERR_POLICY");
  }
  let ids: number[];
  try {
    ids = harness.encodeAction(text);
  } catch (error) {
    return failure("harness_error", error, "ERR_POLICY");
  }
  if (ids.length < 1 || ids.length > harness.maxActionTokens) {
    const message = `[rollout] the script wrote an action of ${ids.length} tokens: expected 1 to ${harness.maxActionTokens}, as the harness grants a policy. Shorten it or raise maxActionTokens.`;
    return failure("policy_error", new PolicyError("ERR_POLICY", message), "ERR_POLICY");
  }
  if (ids.length > context.room) return { stopReason: "max_tokens" };
  return { ids, logprobs: ids.map(() => 0), finish: "stop" };
}

/** A policy is a seam others implement: what it returns is trained on, so it is checked before it is recorded. */
function checkSample(result: SampleResult, request: Omit<SampleRequest, "signal">): void {
  const { ids, logprobs, finish } = result;
  const refuse = (what: string, expected: string, got: unknown): never => {
    throw new PolicyError(
      "ERR_POLICY",
      `[Policy.sample] ${what}: expected ${expected}, got ${String(got)}. Mend the policy.`,
    );
  };
  if (ids.length < 1 || ids.length > request.maxTokens)
    refuse("wrong number of sampled ids", `1 to ${request.maxTokens}`, ids.length);
  if (logprobs.length !== ids.length)
    refuse("wrong number of log-probabilities", `${ids.length}, one per id`, logprobs.length);
  for (const id of ids)
    if (!Number.isInteger(id) || id < 0 || id > 0x7fffffff)
      refuse("a sampled id is not a token id", "an integer from 0 to 2147483647", id);
  for (const logprob of logprobs)
    if (!Number.isFinite(logprob)) refuse("a log-probability is unusable", "a finite number", logprob);
  const early = ids.slice(0, -1).find((id) => request.stop.includes(id));
  if (early !== undefined)
    refuse("sampling went on after a stop id", "it last and included", `${early} before the last id`);
  const stopped = request.stop.includes(ids[ids.length - 1]);
  if (finish !== (stopped ? "stop" : "length"))
    refuse("finish contradicts the last id", stopped ? "stop" : "length", finish);
}
