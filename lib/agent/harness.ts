import type { Segment } from "../tokens/segment.js";
import type { Transcript } from "../tokens/transcript.js";

/**
 * How a conversation with the terminal becomes tokens: the chat template of an agent. Appends only; what it appends is context,
 * but for the bodies of segments, which keep their own role.
 */
export interface Harness {
  readonly name: string;
  /** Ids that end an action. */
  readonly stop: readonly number[];
  /** Most tokens of one action, its stop token included. */
  readonly maxActionTokens: number;
  /** Appends the environment's first words and the opening of the first action. */
  open(transcript: Transcript, segments: readonly Segment[]): void;
  /** Text of sampled action ids, without special tokens: what the environment is given. */
  actionText(ids: readonly number[]): string;
  /**
   * What the agent is told instead when an action is not fit to reach the environment (no stop token, a special token inside);
   * undefined when it is. Such an action is a turn, answered with these segments.
   */
  refusal(ids: readonly number[], finish: "stop" | "length"): Segment[] | undefined;
  /** Ids of an action written by a script, its stop token included: what a policy would have sampled. */
  encodeAction(text: string): number[];
  /**
   * Appends the answer to an action and, unless `last`, the opening of the next one. An action that ended without a stop token
   * (`finish` = "length") is closed with context tokens first.
   */
  answer(
    transcript: Transcript,
    finish: "stop" | "length",
    segments: readonly Segment[],
    last: boolean,
  ): void;
}
