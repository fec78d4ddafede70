import { ArgumentError } from "../errors/argument-error.js";
import type { Role } from "./role.js";
import { ROLE_CODE } from "./role-code.js";

/**
 * Append-only record of a rollout: token ids, who wrote each, and the log-probability of each sampled one. What is in it is what is
 * trained on; text is derived from it, never the reverse.
 */
export class Transcript {
  readonly ids: number[] = [];
  /** `ROLE_CODE` per token. */
  readonly roles: number[] = [];
  /** One per action token, in order. */
  readonly logprobs: number[] = [];

  get length(): number {
    return this.ids.length;
  }

  /**
   * @param logprobs required for, and only for, action tokens: one per id.
   * @throws ArgumentError ERR_INVALID_SHAPE when logprobs do not match ids.
   */
  append(ids: readonly number[], role: Role, logprobs?: readonly number[]): void {
    const expected = role === "action" ? ids.length : 0;
    const got = logprobs?.length ?? 0;
    if (got !== expected)
      throw new ArgumentError(
        "ERR_INVALID_SHAPE",
        `[Transcript.append] logprobs has ${got} values for ${ids.length} ${role} tokens: expected ${expected}. Pass one per action token and none otherwise.`,
      );
    for (const id of ids) {
      this.ids.push(id);
      this.roles.push(ROLE_CODE[role]);
    }
    if (logprobs) this.logprobs.push(...logprobs);
  }

  /** An independent record that begins with the same tokens. */
  copy(): Transcript {
    const copy = new Transcript();
    for (const id of this.ids) copy.ids.push(id);
    for (const role of this.roles) copy.roles.push(role);
    for (const logprob of this.logprobs) copy.logprobs.push(logprob);
    return copy;
  }
}
