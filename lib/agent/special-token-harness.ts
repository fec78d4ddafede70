import type { Segment } from "../tokens/segment.js";
import type { Tokenizer } from "../tokens/tokenizer.js";
import type { Transcript } from "../tokens/transcript.js";
import type { Harness } from "./harness.js";

export interface SpecialTokenHarnessOptions {
  /** Most tokens of one action, its `<|end|>` included. */
  maxActionTokens: number;
}

/**
 * The chat template of the microcosms, one special token per change of speaker:
 *
 *     <|task|>read fig<|action|>ls<|end|><|output|>fig\n[0] ~\n<|action|>...
 *
 * What the agent samples, `<|end|>` included, is action; the other special tokens are context; bodies keep their segments' roles.
 */
export class SpecialTokenHarness implements Harness {
  readonly name = "special-token";
  readonly stop: readonly number[];
  readonly maxActionTokens: number;
  private readonly tokenizer: Tokenizer;
  private readonly taskId: number;
  private readonly actionId: number;
  private readonly endId: number;
  private readonly outputId: number;

  /** @throws DataError ERR_TOKENIZER when the tokenizer lacks `<|task|>`, `<|action|>`, `<|end|>` or `<|output|>`. */
  constructor(tokenizer: Tokenizer, options: SpecialTokenHarnessOptions) {
    this.tokenizer = tokenizer;
    this.maxActionTokens = options.maxActionTokens;
    this.taskId = tokenizer.encodeSpecial("<|task|>");
    this.actionId = tokenizer.encodeSpecial("<|action|>");
    this.endId = tokenizer.encodeSpecial("<|end|>");
    this.outputId = tokenizer.encodeSpecial("<|output|>");
    this.stop = [this.endId];
  }

  open(transcript: Transcript, segments: readonly Segment[]): void {
    transcript.append([this.taskId], "context");
    this.appendBodies(transcript, segments);
    transcript.append([this.actionId], "context");
  }

  actionText(ids: readonly number[]): string {
    return this.tokenizer.decode(ids.filter((id) => !this.tokenizer.isSpecial(id)));
  }

  refusal(ids: readonly number[], finish: "stop" | "length"): Segment[] | undefined {
    if (finish === "length") return [{ text: "action too long\n", role: "warning" }];
    // The stop token is last, so any other special token means that the agent spoke out of turn: nothing it wrote is run.
    if (ids.slice(0, -1).some((id) => this.tokenizer.isSpecial(id)))
      return [{ text: "action malformed\n", role: "warning" }];
    return undefined;
  }

  encodeAction(text: string): number[] {
    return [...this.tokenizer.encodeText(text), this.endId];
  }

  answer(
    transcript: Transcript,
    finish: "stop" | "length",
    segments: readonly Segment[],
    last: boolean,
  ): void {
    if (finish === "length") transcript.append([this.endId], "context");
    if (!last || segments.length > 0) transcript.append([this.outputId], "context");
    this.appendBodies(transcript, segments);
    if (!last) transcript.append([this.actionId], "context");
  }

  private appendBodies(transcript: Transcript, segments: readonly Segment[]): void {
    for (const { text, role } of segments) transcript.append(this.tokenizer.encodeText(text), role);
  }
}
