import { ArgumentError } from "../errors/argument-error.js";
import { PolicyError } from "../errors/policy-error.js";
import type { SampleRequest } from "./sample-request.js";

/**
 * Refuses a request no policy could answer.
 * @throws ArgumentError ERR_INVALID_TYPE, ERR_INVALID_SHAPE, ERR_OUT_OF_RANGE. PolicyError ERR_POLICY_CONTEXT when the ids alone are
 *   longer than the policy's context.
 */
export function checkSampleRequest(
  request: SampleRequest,
  limits: { vocabSize: number; maxContext: number },
): void {
  const { ids, maxTokens, temperature, stop, seed } = request;
  if (ids.length === 0)
    throw new ArgumentError(
      "ERR_INVALID_SHAPE",
      "[sample] ids is empty: expected at least 1 token, got 0. Begin with a token of the chat template.",
    );
  if (ids.length > limits.maxContext)
    throw new PolicyError(
      "ERR_POLICY_CONTEXT",
      `[sample] ids does not fit: expected at most ${limits.maxContext} tokens, got ${ids.length}. Shorten the rollout or give the policy a longer context.`,
    );
  for (const [name, list] of [
    ["ids", ids],
    ["stop", stop],
  ] as const)
    for (const [i, id] of list.entries())
      if (!Number.isInteger(id) || id < 0 || id >= limits.vocabSize)
        throw new ArgumentError(
          "ERR_OUT_OF_RANGE",
          `[sample] ${name}[${i}] is not a token: expected 0 to ${limits.vocabSize - 1}, got ${id}. Use the policy's own tokenizer.`,
        );
  if (!Number.isSafeInteger(maxTokens) || maxTokens < 1)
    throw new ArgumentError(
      "ERR_OUT_OF_RANGE",
      `[sample] maxTokens: expected an integer >= 1, got ${maxTokens}. Ask for at least one token.`,
    );
  if (!Number.isFinite(temperature) || temperature <= 0)
    throw new ArgumentError(
      "ERR_OUT_OF_RANGE",
      `[sample] temperature: expected a number > 0, got ${temperature}. Use a small one to be nearly greedy.`,
    );
  if (typeof seed !== "bigint")
    throw new ArgumentError(
      "ERR_INVALID_TYPE",
      `[sample] seed: expected a bigint, got ${typeof seed}. Make it with deriveSeed().`,
    );
  if (seed < 0n || seed >= 2n ** 64n)
    throw new ArgumentError(
      "ERR_OUT_OF_RANGE",
      `[sample] seed: expected 64 bits, got ${seed}. Make it with deriveSeed().`,
    );
}
