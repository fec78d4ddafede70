import type { Segment } from "../tokens/segment.js";

/** An agent that is a program: it sees only what the environment said and writes the next action. */
export interface ScriptedAgent {
  next(answer: readonly Segment[]): string;
}
