import type { Environment } from "../environments/environment.js";
import { EchoGrpoError } from "../errors/echo-grpo-error.js";
import { PolicyError } from "../errors/policy-error.js";
import { SandboxError } from "../errors/sandbox-error.js";
import { TaskError } from "../errors/task-error.js";
import { rolesToLetters } from "../tokens/roles-to-letters.js";
import type { Segment } from "../tokens/segment.js";
import { Deadline } from "./deadline.js";
import { cancellation, type Ending, failure } from "./ending.js";
import { playTurns } from "./play-turns.js";
import { resolveLimits } from "./resolve-limits.js";
import type { RolloutLimits } from "./rollout-limits.js";
import { RolloutRecord } from "./rollout-record.js";
import type { RolloutRequest } from "./rollout-request.js";
import type { Trajectory } from "./trajectory.js";

let sessions = 0;

/**
 * Plays one task once and records it. Whatever the agent does and whatever breaks, the answer is a trajectory with a typed stop
 * reason: agent failures are scored, infrastructure failures have reward null and an `error`. Ends within the sum of its time
 * limits even when a call it makes never returns.
 *
 * @throws ArgumentError ERR_OUT_OF_RANGE when `limits` are unusable.
 */
export async function runRollout(request: RolloutRequest): Promise<Trajectory> {
  const limits = resolveLimits(request.limits);
  const record = new RolloutRecord();
  const session = `rollout-${sessions++}`;
  const { actor } = request;
  const policyVersion = actor.kind === "policy" ? actor.policy.version : 0;

  const held: { environment?: Environment } = {};
  let reward: number | null = null;
  let ending = await play(request, limits, record, session, held);
  if (ending.stopReason === "rollout_timeout") reward = 0;
  else if (!ending.error && ending.stopReason !== "cancelled" && held.environment) {
    const verdict = await verify(held.environment, limits, request.signal);
    if (typeof verdict === "number") reward = verdict;
    else ending = verdict;
  }
  await cleanUp(request, limits, session, held.environment);

  return {
    schema: 2,
    taskId: request.task.id,
    task: request.taskIndex,
    rollout: request.rolloutIndex,
    author: actor.kind,
    policyVersion,
    ids: record.transcript.ids,
    roles: rolesToLetters(record.transcript.roles),
    logprobs: actor.kind === "policy" ? record.transcript.logprobs : [],
    temperature: actor.kind === "policy" ? actor.temperature : 0,
    turns: record.turns,
    reward,
    stopReason: ending.stopReason,
    ...(ending.error ? { error: ending.error } : {}),
    exact: record.exact && reward !== null && ending.stopReason !== "rollout_timeout",
    warnings: record.warnings,
    refusals: record.refusals,
    formatWarnings: record.formatWarnings,
  };
}

/** Builds the environment and plays the turns. */
async function play(
  request: RolloutRequest,
  limits: Required<RolloutLimits>,
  record: RolloutRecord,
  session: string,
  held: { environment?: Environment },
): Promise<Ending> {
  const { actor, harness, signal, task } = request;
  const setup = new Deadline(limits.setupTimeoutMs, signal);
  const raced = await setup.race(async (stop) => {
    const environment = await request.createEnvironment();
    if (stop.aborted) {
      // Nobody waits for it any more: clean up what arrived too late.
      await environment.dispose();
      throw stop.reason;
    }
    held.environment = environment;
    return { environment, opening: await environment.reset(stop) };
  });
  setup.clear();
  if (raced.kind === "cancelled") return cancellation(signal);
  if (raced.kind === "failed") return failure("sandbox_error", raced.error, "ERR_SANDBOX_START");
  if (raced.kind === "timeout") {
    const message = `[rollout] the environment of ${task.id} was not ready: expected within ${limits.setupTimeoutMs} ms. Raise limits.setupTimeoutMs or look at what it waits for.`;
    return failure("sandbox_error", new SandboxError("ERR_SANDBOX_START", message), "ERR_SANDBOX_START");
  }

  const { environment, opening } = raced.value;
  const maxTokens = Math.min(
    limits.maxTokens,
    actor.kind === "policy" ? actor.policy.maxContext : Number.MAX_SAFE_INTEGER,
  );
  const refused = open(request, record, opening, maxTokens);
  if (refused) return refused;

  const deadline = new Deadline(limits.timeoutMs, signal);
  const maxTurns = Math.min(limits.maxTurns, task.maxTurns);
  try {
    return await playTurns(record, {
      environment,
      harness,
      actor,
      opening,
      maxTurns,
      maxTokens,
      session,
      deadline,
      signal,
    });
  } finally {
    deadline.clear();
  }
}

/** Writes the prompt; refuses one that leaves no room for an action, which no agent could do anything about. */
function open(
  request: RolloutRequest,
  record: RolloutRecord,
  opening: readonly Segment[],
  maxTokens: number,
): Ending | undefined {
  const trial = record.transcript.copy();
  try {
    request.harness.open(trial, opening);
  } catch (error) {
    return failure("harness_error", error, "ERR_TOKENIZER");
  }
  if (trial.length < maxTokens) {
    record.transcript = trial;
    return undefined;
  }
  const message = `[rollout] the prompt of ${request.task.id} leaves no room for an action: expected fewer than ${maxTokens} tokens, got ${trial.length}. Raise limits.maxTokens or the policy's maxContext.`;
  return failure("policy_error", new PolicyError("ERR_POLICY_CONTEXT", message), "ERR_POLICY_CONTEXT");
}

async function verify(
  environment: Environment,
  limits: Required<RolloutLimits>,
  signal: AbortSignal | undefined,
): Promise<number | Ending> {
  const deadline = new Deadline(limits.verifyTimeoutMs, signal);
  const raced = await deadline.race((stop) => environment.score(stop));
  deadline.clear();
  if (raced.kind === "cancelled") return cancellation(signal);
  if (raced.kind === "failed") return failure("verifier_error", raced.error, "ERR_VERIFIER");
  if (raced.kind === "done" && Number.isFinite(raced.value)) return raced.value;
  const message =
    raced.kind === "done"
      ? `[Environment.score] the reward is unusable: expected a finite number, got ${raced.value}. Mend the verifier.`
      : `[rollout] the verifier did not end: expected within ${limits.verifyTimeoutMs} ms. Raise limits.verifyTimeoutMs or mend the verifier.`;
  return failure("verifier_error", new TaskError("ERR_VERIFIER", message), "ERR_VERIFIER");
}

/** Gives back what the rollout held, also when it was cancelled; never waits longer than `disposeTimeoutMs`. */
async function cleanUp(
  request: RolloutRequest,
  limits: Required<RolloutLimits>,
  session: string,
  environment: Environment | undefined,
): Promise<void> {
  const deadline = new Deadline(limits.disposeTimeoutMs);
  const raced = await deadline.race(async () => {
    try {
      if (request.actor.kind === "policy") request.actor.policy.endSession(session);
    } finally {
      await environment?.dispose();
    }
  });
  deadline.clear();
  if (raced.kind === "done") return;
  const what =
    raced.kind === "failed" ? `failed: ${String(raced.error)}` : `took over ${limits.disposeTimeoutMs} ms`;
  const message = `[rollout] clean-up of ${request.task.id} (rollout ${request.rolloutIndex}) ${what}. Processes or files may have been left behind.`;
  const cause = raced.kind === "failed" ? raced.error : undefined;
  request.onCleanupFailure?.(new EchoGrpoError("ERR_CLEANUP", message, { cause }));
}
