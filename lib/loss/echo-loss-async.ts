import { holdMemory } from "../tensors/hold-memory.js";
import { asyncCall } from "./async-call.js";
import { type AsyncLogitsBlock, asyncLogits } from "./async-logits.js";
import type { EchoLossInput } from "./echo-loss-input.js";
import { type EchoLossResult, echoLossResult } from "./echo-loss-result.js";
import { fallbackLoss } from "./fallback-loss.js";
import { hostBlock } from "./host-block.js";
import type { LossTotals } from "./loss-totals.js";
import { nativeLossRows } from "./native-loss-rows.js";
import { prepareEchoLoss } from "./prepare-echo-loss.js";
import { writeRows } from "./write-rows.js";

const WHERE = "echoLossAsync";

export interface EchoLossAsyncInput extends Omit<EchoLossInput, "logits" | "dtype">, AsyncLogitsBlock {
  /** Takes the call back if it has not begun: it rejects with the signal's reason and the logits are as they were. One that has begun goes on to its end. */
  signal?: AbortSignal;
}

/**
 * `echoLoss` on a thread of its own: the same checks, the same bytes, and the event loop goes on meanwhile. Calls of all threads of the process are
 * computed one after the other, in the order in which they were made, and resolve in that order; their kernels share the thread pool.
 *
 * The logits must lie where nothing can move them, and are neither to be read nor written until the promise settles. Everything else is
 * copied at the call, except `logprobsOut` and `entropiesOut`, which are written when it is over. A pending call keeps the process
 * alive. A worker that is terminated waits for the call that is being computed and drops the others.
 *
 * @throws (rejects) ArgumentError as `echoLoss`, before anything is queued, and ERR_UNSUPPORTED for logits over an ArrayBuffer, which a transfer could
 *   take away, ERR_DISPOSED for a disposed tensor; ERR_DETACHED, afterwards, when `logprobsOut` or `entropiesOut` was transferred meanwhile.
 * @throws (rejects) NativeError as `echoLoss`, and ERR_NATIVE_STATUS when the system gives no thread or no memory.
 */
export async function echoLossAsync(input: EchoLossAsyncInput): Promise<EchoLossResult> {
  const rows: EchoLossInput = { ...input, ...asyncLogits(WHERE, input) };
  const prepared = prepareEchoLoss(WHERE, rows);
  const { block, options, logprobsOut, entropiesOut } = prepared;
  const memory = ArrayBuffer.isView(block.logits) ? holdMemory(WHERE, "logits", block.logits) : null;
  const T = prepared.rows.targets.length;
  type Outcome = [metrics: LossTotals, logprobs: Float32Array, entropies: Float32Array | null];
  const [metrics, logprobs, entropies] = await asyncCall<Outcome>(WHERE, input.signal, {
    native(addon, done) {
      let deferred = false;
      const vectors = nativeLossRows(WHERE, prepared.rows, rows, options, () => {
        // The log-ratios need log-probabilities, which the job computes first; here only their rows are checked.
        deferred = true;
        return new Float32Array(T);
      });
      const { logRatios, ...rest } = vectors;
      const whole = deferred
        ? { ...rest, cuSeqLens: Int32Array.from(input.cuSeqLens ?? []) }
        : { ...vectors };
      return addon.echoLossAsync(block, whole, options, entropiesOut !== null, memory, done);
    },
    fallback() {
      nativeLossRows(WHERE, prepared.rows, rows, options, () => new Float32Array(T));
      const copied = copyRows(prepared.rows);
      const { samplerLogprobs, cuSeqLens } = rows;
      const own = copyRows({ samplerLogprobs, cuSeqLens });
      const logprobs = new Float32Array(T);
      const entropies = entropiesOut === null ? null : new Float32Array(T);
      return () => [
        fallbackLoss({
          ...hostBlock(block),
          where: WHERE,
          rows: copied,
          input: own,
          options,
          logprobs,
          entropies,
        }),
        logprobs,
        entropies,
      ];
    },
  });
  writeRows(WHERE, "logprobsOut", logprobs, logprobsOut);
  writeRows(WHERE, "entropiesOut", entropies, entropiesOut);
  return echoLossResult(metrics, logprobsOut ?? logprobs);
}

function copyRows<Rows extends object>(rows: Rows): Rows {
  return Object.fromEntries(
    Object.entries(rows).map(([name, values]) => [
      name,
      ArrayBuffer.isView(values) ? (values as Float32Array).slice() : values,
    ]),
  ) as Rows;
}
