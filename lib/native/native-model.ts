import type { LossTotals } from "../loss/loss-totals.js";
import type { ResolvedLossOptions } from "../loss/resolve-loss-options.js";
import type { NativeLossRows } from "./native-loss.js";

/** Shape of a Qwen3-architecture decoder. */
export interface NativeDecoderConfig {
  vocabSize: number;
  hiddenSize: number;
  intermediateSize: number;
  numLayers: number;
  numHeads: number;
  numKvHeads: number;
  headDim: number;
  ropeTheta: number;
  rmsNormEps: number;
  tieWordEmbeddings: boolean;
  /** Longest sequence. */
  maxPositions: number;
}

/** A tensor in addon-owned memory; `value` and `grad` alias it for the decoder's lifetime. */
export interface NativeParameter {
  name: string;
  shape: number[];
  value: Float32Array;
  grad: Float32Array;
}

export interface NativeSampler {
  /**
   * Feeds `counts[i]` new tokens to slot `slots[i]` (one forward pass for all) and, for each, samples one token after the last of them.
   * tokens: the new ids, concatenated. seeds: one 64-bit key per entry; the uniform number comes from
   * philox(counter = (position of the sampled token, 0, 0, 0), key = seed). Writes the sampled ids and their log-probabilities at `temperature`.
   */
  step(
    slots: Int32Array,
    counts: Int32Array,
    tokens: Int32Array,
    seeds: BigUint64Array,
    temperature: number,
    outIds: Int32Array,
    outLogprobs: Float32Array,
  ): void;
  /** Tokens held by a slot. */
  length(slot: number): number;
  /** Drops everything after the first `length` tokens of a slot (0 empties it). */
  truncate(slot: number, length: number): void;
}

/** Opaque handle of the native decoder. Calls are synchronous and use the thread pool. */
export interface NativeDecoder {
  parameters(): NativeParameter[];
  /** Forward, echo_loss through the chunked head, backward; gradients accumulate. */
  forwardBackward(
    ids: Int32Array,
    cuSeqLens: Int32Array,
    rows: NativeLossRows,
    options: ResolvedLossOptions,
  ): LossTotals;
  /** Row t: log p(ids[t + 1] | ...) at temperature; 0 on the last row of each sequence, [T]. */
  logprobs(ids: Int32Array, cuSeqLens: Int32Array, temperature: number): Float32Array;
  /** [T, V], for tests and small inputs. */
  logits(ids: Int32Array, cuSeqLens: Int32Array): Float32Array;
  zeroGradients(): void;
  /** Rebuilds packed weights after `value`s changed. */
  parametersChanged(): void;
  createSampler(slots: number, maxContext: number): NativeSampler;
}
