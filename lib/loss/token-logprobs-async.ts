import { holdMemory } from "../tensors/hold-memory.js";
import { asyncCall } from "./async-call.js";
import { type AsyncLogitsBlock, asyncLogits } from "./async-logits.js";
import { fallbackLogprobs } from "./fallback-logprobs.js";
import { hostBlock } from "./host-block.js";
import { nativeLogprobsOptions } from "./native-logprobs-options.js";
import { prepareTokenLogprobs } from "./prepare-token-logprobs.js";
import type { TokenLogprobsInput } from "./token-logprobs-input.js";
import { writeRows } from "./write-rows.js";

const WHERE = "tokenLogprobsAsync";

export interface TokenLogprobsAsyncInput
  extends Omit<TokenLogprobsInput, "logits" | "dtype">,
    AsyncLogitsBlock {
  /** As in `EchoLossAsyncInput`. */
  signal?: AbortSignal;
}

/**
 * `tokenLogprobs` on a thread of its own: the same checks, the same bytes; in one queue with `echoLossAsync`, whose rules hold here too. The
 * logits may be read meanwhile, and by several calls.
 *
 * @throws (rejects) ArgumentError as `tokenLogprobs`, ERR_UNSUPPORTED for logits over an ArrayBuffer, ERR_DISPOSED; NativeError as `echoLossAsync`.
 */
export async function tokenLogprobsAsync(input: TokenLogprobsAsyncInput): Promise<Float32Array> {
  const prepared = prepareTokenLogprobs(WHERE, { ...input, ...asyncLogits(WHERE, input) });
  const { block, targets, options, logprobsOut, entropiesOut } = prepared;
  const memory = ArrayBuffer.isView(block.logits) ? holdMemory(WHERE, "logits", block.logits) : null;
  type Outcome = [logprobs: Float32Array, entropies: Float32Array | null];
  const [logprobs, entropies] = await asyncCall<Outcome>(WHERE, input.signal, {
    native: (addon, done) =>
      addon.tokenLogprobsAsync(
        block,
        targets,
        nativeLogprobsOptions(options),
        entropiesOut !== null,
        memory,
        done,
      ),
    fallback() {
      const own = targets.slice();
      const logprobs = new Float32Array(own.length);
      const entropies = entropiesOut === null ? null : new Float32Array(own.length);
      return () => {
        fallbackLogprobs(hostBlock(block), own, options, logprobs, entropies);
        return [logprobs, entropies];
      };
    },
  });
  writeRows(WHERE, "logprobsOut", logprobs, logprobsOut);
  writeRows(WHERE, "entropiesOut", entropies, entropiesOut);
  return logprobsOut ?? logprobs;
}
