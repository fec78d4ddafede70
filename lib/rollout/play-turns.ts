import type { Harness } from "../agent/harness.js";
import type { Environment } from "../environments/environment.js";
import type { EnvironmentStep } from "../environments/environment-step.js";
import type { SampleResult } from "../policy/sample-result.js";
import type { Segment } from "../tokens/segment.js";
import type { Deadline } from "./deadline.js";
import { cancellation, type Ending, failure } from "./ending.js";
import type { RolloutActor } from "./rollout-actor.js";
import type { RolloutRecord } from "./rollout-record.js";
import { writeAction } from "./write-action.js";

/** What the turns of a rollout are played with. */
export interface Play {
  environment: Environment;
  harness: Harness;
  actor: RolloutActor;
  /** What the environment said first; already in the record. */
  opening: readonly Segment[];
  maxTurns: number;
  /** Most tokens of the sequence. The record holds fewer when play begins. */
  maxTokens: number;
  session: string;
  deadline: Deadline;
  signal: AbortSignal | undefined;
}

/** Action, answer, action, answer, until something ends it. */
export async function playTurns(record: RolloutRecord, play: Play): Promise<Ending> {
  const { harness, maxTokens } = play;
  let answer = play.opening;
  for (;;) {
    const room = maxTokens - record.transcript.length;
    const action = await writeAction({ ...play, transcript: record.transcript, answer, room });
    if ("stopReason" in action) return action;
    record.transcript.append(action.ids, "action", action.logprobs);
    record.turns++;
    // The sequence's limit, not the agent, ended this action: half a command is not run.
    if (action.finish === "length" && action.ids.length < harness.maxActionTokens)
      return { stopReason: "max_tokens" };

    const step = await answerTo(action, play);
    if ("stopReason" in step) return step;
    const { segments, done, exact, form } = step;
    if (!exact) record.exact = false;
    if (segments.some((segment) => segment.role === "warning")) record.warnings++;
    if (form === "refused") record.refusals++;
    if (form === "untidy") record.formatWarnings++;

    const last = done || record.turns >= play.maxTurns;
    let goesOn: boolean;
    try {
      goesOn = appendAnswer(record, play, action.finish, segments, last);
    } catch (error) {
      return failure("harness_error", error, "ERR_TOKENIZER");
    }
    if (done) return { stopReason: "submitted" };
    if (last) return { stopReason: "max_turns" };
    if (!goesOn) return { stopReason: "max_tokens" };
    answer = segments;
  }
}

/** The environment's answer, or the harness's where the action is not fit to reach it. */
async function answerTo(action: SampleResult, play: Play): Promise<EnvironmentStep | Ending> {
  const { environment, harness, deadline } = play;
  let text: string;
  try {
    const refusal = harness.refusal(action.ids, action.finish);
    if (refusal) return { segments: refusal, done: false, exact: true, form: "refused" };
    text = harness.actionText(action.ids);
  } catch (error) {
    return failure("harness_error", error, "ERR_TOKENIZER");
  }
  const raced = await deadline.race((signal) => environment.step(text, signal));
  if (raced.kind === "done") return raced.value;
  if (raced.kind === "failed") return failure("sandbox_error", raced.error, "ERR_SANDBOX_GONE");
  return raced.kind === "timeout" ? { stopReason: "rollout_timeout" } : cancellation(play.signal);
}

/**
 * Appends the answer whole or not at all: a cut observation would be trained on as if the terminal had stopped there. Where the
 * answer fits but the next action would have no room, the answer closes the sequence. Returns whether another action can follow.
 */
function appendAnswer(
  record: RolloutRecord,
  play: Play,
  finish: "stop" | "length",
  segments: readonly Segment[],
  last: boolean,
): boolean {
  for (const closing of last ? [true] : [false, true]) {
    const trial = record.transcript.copy();
    play.harness.answer(trial, finish, segments, closing);
    if (trial.length + (closing ? 0 : 1) <= play.maxTokens) {
      record.transcript = trial;
      return !closing;
    }
  }
  return false;
}
