import { resolveLossOptions } from "../lib/loss/resolve-loss-options.js";
import { loadNative } from "../lib/native/load.js";
import type { NativeDecoder, NativeDecoderConfig } from "../lib/native/native-model.js";
import { CounterRandom } from "../lib/random/counter-random.js";
import type { BenchTable } from "./bench-table.js";
import { type MeasuredCase, measure } from "./measure.js";

/** The size that TinyTerm trains. */
const CONFIG: NativeDecoderConfig = {
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
const SEQUENCES = 256;
const SLOTS = 64;
const SAMPLED_LENGTH = 120;

interface DecoderCase extends MeasuredCase {
  tokens: number;
  gflop: number;
}

function createDecoder(): NativeDecoder {
  const decoder = loadNative().createDecoder(CONFIG);
  const random = new CounterRandom(1n);
  for (const { shape, value } of decoder.parameters())
    for (let i = 0; i < value.length; i++) value[i] = shape.length === 1 ? 1 : (random.next() - 0.5) * 0.2;
  decoder.parametersChanged();
  return decoder;
}

/** Multiplications and additions of one token's projections, without attention over its past and without the head. */
function layersFlop(): number {
  const { hiddenSize, intermediateSize, numLayers, numHeads, numKvHeads, headDim } = CONFIG;
  const attention = hiddenSize * headDim * (2 * numHeads + 2 * numKvHeads);
  return 2 * numLayers * (attention + 3 * hiddenSize * intermediateSize);
}

/** Scores and values of a sequence that grows from 0 to `length`: what the causal mask leaves. */
function attentionFlop(length: number): number {
  return 4 * CONFIG.numLayers * CONFIG.numHeads * CONFIG.headDim * ((length * (length + 1)) / 2);
}

function trainingCases(decoder: NativeDecoder): DecoderCase[] {
  const random = new CounterRandom(2n);
  const lengths = Array.from({ length: SEQUENCES }, () => 90 + random.integer(61));
  const cuSeqLens = new Int32Array(SEQUENCES + 1);
  for (const [i, length] of lengths.entries()) cuSeqLens[i + 1] = cuSeqLens[i] + length;
  const tokens = cuSeqLens[SEQUENCES];
  const ids = Int32Array.from({ length: tokens }, () => random.integer(CONFIG.vocabSize));
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
  const options = resolveLossOptions("bench", {});
  const attention = lengths.reduce((sum, length) => sum + attentionFlop(length), 0);
  const head = 2 * CONFIG.vocabSize * CONFIG.hiddenSize;
  const layers = tokens * layersFlop() + attention;
  const headRows = weighted.reduce((sum, w) => sum + w, 0);
  return [
    {
      name: `training: forward and backward, ${SEQUENCES} sequences of 90 to 150 tokens`,
      tokens,
      gflop: (3 * (layers + head * headRows)) / 1e9,
      run: () => {
        decoder.zeroGradients();
        decoder.forwardBackward(ids, cuSeqLens, rows, options);
      },
    },
    {
      name: "log-probabilities of the same sequences",
      tokens,
      gflop: (layers + head * (tokens - SEQUENCES)) / 1e9,
      run: () => {
        decoder.logprobs(ids, cuSeqLens, 1);
      },
    },
  ];
}

/** All slots from empty to SAMPLED_LENGTH tokens, `count` new tokens to each slot in every pass. */
function samplingCase(decoder: NativeDecoder, count: number): DecoderCase {
  const sampler = decoder.createSampler(SLOTS, CONFIG.maxPositions);
  const slots = Int32Array.from({ length: SLOTS }, (_, slot) => slot);
  const counts = new Int32Array(SLOTS).fill(count);
  const random = new CounterRandom(3n);
  const tokens = Int32Array.from({ length: SLOTS * count }, () => random.integer(CONFIG.vocabSize));
  const seeds = BigUint64Array.from({ length: SLOTS }, (_, slot) => BigInt(slot));
  const ids = new Int32Array(SLOTS);
  const logprobs = new Float32Array(SLOTS);
  const passes = SAMPLED_LENGTH / count;
  const head = 2 * CONFIG.vocabSize * CONFIG.hiddenSize * passes;
  // The last layer after its keys and values: only for the rows that are sampled from.
  const { hiddenSize, intermediateSize, numHeads, headDim } = CONFIG;
  const skipped = (SAMPLED_LENGTH - passes) * 2 * hiddenSize * (numHeads * headDim + 3 * intermediateSize);
  return {
    name: `sampling: ${SLOTS} slots from 0 to ${SAMPLED_LENGTH} tokens, ${count} new each pass`,
    tokens: SLOTS * SAMPLED_LENGTH,
    gflop: (SLOTS * (SAMPLED_LENGTH * layersFlop() + attentionFlop(SAMPLED_LENGTH) + head - skipped)) / 1e9,
    run: () => {
      for (const slot of slots) sampler.truncate(slot, 0);
      for (let pass = 0; pass < passes; pass++) {
        sampler.step(slots, counts, tokens, seeds, 1, ids, logprobs);
        if (count === 1) tokens.set(ids);
      }
    },
  };
}

/** How fast the decoder of TinyTerm's size trains and samples. */
export function benchDecoder(): BenchTable {
  const decoder = createDecoder();
  const cases = [
    ...trainingCases(decoder),
    ...[1, 2, 4, 8].map((count) => samplingCase(decoder, count)),
    {
      name: "packing the weights after an optimiser step",
      tokens: 0,
      gflop: 0,
      run: () => decoder.parametersChanged(),
    },
  ];
  // Packing goes last within a round: the slots of a sampler stay valid only as long as the parameters.
  const measured = cases.map((one) => measure([one], { rounds: 3, minSamples: 5, maxTimeS: 0.3 })[0]);
  return {
    title: "Embedded decoder: 4 layers, hidden 128, heads 4:2 of 32, feed-forward 384, vocabulary 512, tied",
    columns: ["what", "ms", "tokens/s", "GFLOP/s", "CPU ms", "tokens per CPU second", "GFLOP per CPU second"],
    rows: cases.map(({ name, tokens, gflop }, i) => {
      const { medianMs, cpuMs } = measured[i];
      const each = (ms: number): (string | number)[] =>
        tokens === 0 ? ["", ""] : [tokens / (ms / 1e3), gflop / (ms / 1e3)];
      return [name, medianMs, ...each(medianMs), cpuMs, ...each(cpuMs)];
    }),
    notes: [
      "GFLOP counts the matrix products of weighted rows and what the causal mask leaves of attention; backward twice forward.",
      "Sampling counts fed tokens; each pass samples one token per slot. CPU columns: processor time over all threads.",
    ],
  };
}
