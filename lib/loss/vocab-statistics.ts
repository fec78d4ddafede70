/**
 * What a shard of the vocabulary has to say of each row before its gradient can be formed, [T] each: 20 or 28 bytes a row, for the ranks of a
 * tensor-parallel group to exchange. With x the logits of the shard under the softcap, without the target's:
 */
export interface VocabStatistics {
  /** max x, not below -3.4e38. */
  max: Float32Array;
  /** Σ exp((x - max) / temperature). */
  sum: Float64Array;
  /** The target's logit, -Infinity where the target is in another shard. */
  targetLogits: Float32Array;
  /** Σ a · 2^a with a = (x - max) / (temperature · ln 2); null where no entropy is wanted. */
  weighted: Float64Array | null;
  /** Of the call. */
  temperature: number;
}
