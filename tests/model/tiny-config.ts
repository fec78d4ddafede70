import type { NativeDecoderConfig } from "../../lib/native/native-model.js";

/** Grouped-query attention, heads · headDim ≠ hidden, odd widths. */
export const TINY_CONFIG: NativeDecoderConfig = {
  vocabSize: 61,
  hiddenSize: 36,
  intermediateSize: 52,
  numLayers: 2,
  numHeads: 4,
  numKvHeads: 2,
  headDim: 12,
  ropeTheta: 10_000,
  rmsNormEps: 1e-6,
  tieWordEmbeddings: true,
  maxPositions: 128,
};
