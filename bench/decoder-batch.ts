import { resolveLossOptions } from "../lib/loss/resolve-loss-options.js";
import { loadNative } from "../lib/native/load.js";
import type { NativeDecoder, NativeDecoderConfig } from "../lib/native/native-model.js";
import { CounterRandom } from "../lib/random/counter-random.js";

/** The size that TinyTerm trains. */
export const DECODER: NativeDecoderConfig = {
  vocabSize: 512,
  hiddenSize: 128,
  intermediateSize: 384,
  numLayers: 4,
  numHeads: 4,
  numKvHeads: 2,
  headDim: 32,
  ropeTheta: 10_000,
  rmsNormEps: 1e-6,
  tieWordEmbeddings: true,
  maxPositions: 256,
};

/** A decoder with weights large enough that attention is far from even. */
export function createDecoder(): NativeDecoder {
  const decoder = loadNative().createDecoder(DECODER);
  const random = new CounterRandom(1n);
  for (const { shape, value } of decoder.parameters())
    for (let i = 0; i < value.length; i++) value[i] = shape.length === 1 ? 1 : (random.next() - 0.5) * 0.2;
  decoder.parametersChanged();
  return decoder;
}

/** Sequences of 90 to 150 tokens, packed, for a training step. */
export function trainingBatch(sequences: number) {
  const random = new CounterRandom(2n);
  const lengths = Array.from({ length: sequences }, () => 90 + random.integer(61));
  const cuSeqLens = new Int32Array(sequences + 1);
  for (const [i, length] of lengths.entries()) cuSeqLens[i + 1] = cuSeqLens[i] + length;
  const tokens = cuSeqLens[sequences];
  const ids = Int32Array.from({ length: tokens }, () => random.integer(DECODER.vocabSize));
  const last = new Set(cuSeqLens.subarray(1).map((end) => end - 1));
  // One row in four is context: its logits are never computed.
  const weighted = ids.map((_, t) => (last.has(t) || t % 4 === 0 ? 0 : 1));
  const rows = {
    targets: ids.map((_, t) => (last.has(t) ? 0 : ids[t + 1])),
    actionWeights: Float32Array.from(weighted, (w, t) => (t % 2 ? w / tokens : 0)),
    observationWeights: Float32Array.from(weighted, (w, t) => (t % 2 ? 0 : w / tokens)),
    advantages: new Float32Array(tokens).fill(1),
    onPolicy: true,
  };
  const weightedRows = weighted.reduce((sum, w) => sum + w, 0);
  return { lengths, cuSeqLens, tokens, ids, rows, weightedRows, options: resolveLossOptions("bench", {}) };
}
