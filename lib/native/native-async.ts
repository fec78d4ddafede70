import type { LossTotals } from "../loss/loss-totals.js";
import type { ResolvedLossOptions } from "../loss/resolve-loss-options.js";
import type { NativeHostMemory } from "./native-host-memory.js";
import type { NativeBlock, NativeLossRows } from "./native-loss.js";

/** Called once, from the event loop: with a code and a message when the job failed, else with null and the results. */
export type NativeDone<Results extends unknown[]> = (
  code: string | null,
  ...rest: Results | [message: string]
) => void;

/**
 * The loss away from the calling thread. Jobs of all environments of the process run one after the other in the order of the calls, on the
 * tier that is active when they begin. Row vectors are copied at the call; logits lie in `memory`, or in a SharedArrayBuffer when that is
 * null. The number is a ticket for `takeBack`.
 */
export interface NativeAsync {
  /** Null where this Node allows no ArrayBuffer over memory that V8 did not allocate. */
  createHostMemory(bytes: number): NativeHostMemory | null;
  /** Detaches `buffer`; the memory is freed after the last job on it. */
  disposeHostMemory(memory: NativeHostMemory): void;
  /** cuSeqLens: log-ratios are those of whole sequences, computed when the job runs. */
  echoLossAsync(
    block: NativeBlock & { gradientDtype: NativeBlock["dtype"] },
    rows: NativeLossRows & { cuSeqLens?: Int32Array },
    options: ResolvedLossOptions,
    entropies: boolean,
    memory: NativeHostMemory | null,
    done: NativeDone<[totals: LossTotals, logprobs: Float32Array, entropies: Float32Array | null]>,
  ): number;
  tokenLogprobsAsync(
    block: NativeBlock,
    targets: Int32Array,
    options: { temperature: number; logitSoftcap: number },
    entropies: boolean,
    memory: NativeHostMemory | null,
    done: NativeDone<[logprobs: Float32Array, entropies: Float32Array | null]>,
  ): number;
  /** True: the job had not begun, will not run, and `done` is not called. */
  takeBack(ticket: number): boolean;
}
