import { Transcript } from "../tokens/transcript.js";

/** What a rollout has written so far. */
export class RolloutRecord {
  transcript = new Transcript();
  turns = 0;
  warnings = 0;
  refusals = 0;
  formatWarnings = 0;
  exact = true;
}
