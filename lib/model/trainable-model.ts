import type { LossOptions } from "../loss/loss-options.js";
import type { LossTotals } from "../loss/loss-totals.js";
import type { MicroBatch } from "../loss/micro-batch.js";
import type { PackedSequences } from "../loss/packed-sequences.js";
import type { Parameter } from "./parameter.js";

/**
 * A model that learns. The trainer owns the optimiser and knows only this interface. Methods may be synchronous or
 * return promises; the trainer awaits either.
 */
export interface TrainableModel {
  readonly vocabSize: number;
  /** Forward, `echoLoss`, backward; gradients accumulate into `parameters()[i].grad`. */
  forwardBackward(micro: MicroBatch, options: LossOptions): LossTotals | Promise<LossTotals>;
  /**
   * log p(ids[t + 1] | ids[<= t]) at `temperature` for each packed row t, [T]; 0 on the last row of each sequence.
   */
  logprobs(packed: PackedSequences, options: { temperature: number }): Float32Array | Promise<Float32Array>;
  /** Trainable tensors in stable order. */
  parameters(): readonly Parameter[];
  zeroGradients(): void;
  /** Must be called after the optimiser wrote to `parameters()[i].value`. */
  parametersChanged(): void;
  /** Writes a Hugging Face directory (config.json, model.safetensors). */
  save(directory: string): Promise<void>;
  /** Reads what `save` wrote; shapes must match. */
  load(directory: string): Promise<void>;
}
