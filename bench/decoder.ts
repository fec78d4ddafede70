import { loadNative } from "../lib/native/load.js";
import type { NativeDecoder } from "../lib/native/native-model.js";
import { CounterRandom } from "../lib/random/counter-random.js";
import type { BenchContext } from "./bench-context.js";
import { benchRatio } from "./bench-ratio.js";
import type { BenchTable } from "./bench-table.js";
import { createDecoder, DECODER, trainingBatch } from "./decoder-batch.js";
import { DecoderPeers } from "./decoder-peers.js";
import type { MeasuredCase, Measurement } from "./measure.js";
import { measureBeside, type PeerCase } from "./measure-beside.js";
import type { MissingPeer } from "./peers/missing-peer.js";
import { renderMissing } from "./peers/render-missing.js";
import { renderRatio } from "./render-ratio.js";

const SEQUENCES = 256;
const SLOTS = 64;
const SAMPLED_LENGTH = 120;
const COUNTS = [1, 2, 4, 8];

/** One of ours and the same work in PyTorch. */
interface DecoderGroup {
  ours: MeasuredCase;
  peers: PeerCase[];
  tokens: number;
  gflop: number;
}
type MeasuredGroup = DecoderGroup & { measured: Map<string, Measurement>; missing: MissingPeer[] };

/** Multiplications and additions of one token's projections, without attention over its past and without the head. */
function layersFlop(): number {
  const { hiddenSize, intermediateSize, numLayers, numHeads, numKvHeads, headDim } = DECODER;
  const attention = hiddenSize * headDim * (2 * numHeads + 2 * numKvHeads);
  return 2 * numLayers * (attention + 3 * hiddenSize * intermediateSize);
}

/** Scores and values of a sequence that grows from 0 to `length`: what the causal mask leaves. */
function attentionFlop(length: number): number {
  return 4 * DECODER.numLayers * DECODER.numHeads * DECODER.headDim * ((length * (length + 1)) / 2);
}

function trainingGroups(decoder: NativeDecoder, peers: DecoderPeers): DecoderGroup[] {
  const batch = trainingBatch(SEQUENCES);
  const { cuSeqLens, ids, lengths, options, rows, tokens, weightedRows } = batch;
  const attention = lengths.reduce((sum, length) => sum + attentionFlop(length), 0);
  const head = 2 * DECODER.vocabSize * DECODER.hiddenSize;
  const layers = tokens * layersFlop() + attention;
  return [
    {
      ours: {
        name: `training: forward and backward, ${SEQUENCES} sequences of 90 to 150 tokens`,
        run: () => {
          decoder.zeroGradients();
          decoder.forwardBackward(ids, cuSeqLens, rows, options);
        },
      },
      peers: peers.training(batch),
      tokens,
      gflop: (3 * (layers + head * weightedRows)) / 1e9,
    },
    {
      ours: {
        name: "log-probabilities of the same sequences",
        run: () => {
          decoder.logprobs(ids, cuSeqLens, 1);
        },
      },
      peers: [],
      tokens,
      gflop: (layers + head * (tokens - SEQUENCES)) / 1e9,
    },
  ];
}

/** All slots from empty to SAMPLED_LENGTH tokens, `count` new tokens to each slot in every pass. */
function samplingGroup(decoder: NativeDecoder, count: number, peers: DecoderPeers): DecoderGroup {
  const sampler = decoder.createSampler(SLOTS, DECODER.maxPositions);
  const slots = Int32Array.from({ length: SLOTS }, (_, slot) => slot);
  const counts = new Int32Array(SLOTS).fill(count);
  const random = new CounterRandom(3n);
  const tokens = Int32Array.from({ length: SLOTS * count }, () => random.integer(DECODER.vocabSize));
  const seeds = BigUint64Array.from({ length: SLOTS }, (_, slot) => BigInt(slot));
  const ids = new Int32Array(SLOTS);
  const logprobs = new Float32Array(SLOTS);
  const passes = SAMPLED_LENGTH / count;
  const head = 2 * DECODER.vocabSize * DECODER.hiddenSize * passes;
  // The last layer after its keys and values: only for the rows that are sampled from.
  const { hiddenSize, intermediateSize, numHeads, headDim } = DECODER;
  const skipped = (SAMPLED_LENGTH - passes) * 2 * hiddenSize * (numHeads * headDim + 3 * intermediateSize);
  sampler.step(slots, counts, tokens, seeds, 1, ids, logprobs);
  const sampled = { id: ids[0], logprob: logprobs[0] };
  const batch = { slots: SLOTS, length: SAMPLED_LENGTH, count, tokens: tokens.slice() };
  return {
    ours: {
      name: `sampling: ${SLOTS} slots from 0 to ${SAMPLED_LENGTH} tokens, ${count} new each pass`,
      run: () => {
        for (const slot of slots) sampler.truncate(slot, 0);
        for (let pass = 0; pass < passes; pass++) {
          sampler.step(slots, counts, tokens, seeds, 1, ids, logprobs);
          if (count === 1) tokens.set(ids);
        }
      },
    },
    peers: peers.sampling(decoder, batch, sampled),
    tokens: SLOTS * SAMPLED_LENGTH,
    gflop: (SLOTS * (SAMPLED_LENGTH * layersFlop() + attentionFlop(SAMPLED_LENGTH) + head - skipped)) / 1e9,
  };
}

/** How fast the decoder of TinyTerm's size trains and samples, beside PyTorch. */
export async function benchDecoder(context: BenchContext): Promise<BenchTable> {
  const decoder = createDecoder();
  const peers = await DecoderPeers.open(loadNative().threads());
  try {
    const groups: DecoderGroup[] = [
      ...trainingGroups(decoder, peers),
      ...COUNTS.map((count) => samplingGroup(decoder, count, peers)),
      // Packing goes last: the slots of a sampler stay valid only as long as the parameters.
      {
        ours: {
          name: "packing the weights after an optimiser step",
          run: () => decoder.parametersChanged(),
        },
        peers: [],
        tokens: 0,
        gflop: 0,
      },
    ];
    const effort = context.effort({ rounds: 3, minSamples: 2, maxTimeS: 0.3 });
    const measured: MeasuredGroup[] = [];
    for (const group of groups)
      measured.push({ ...group, ...(await measureBeside([group.ours, ...group.peers], effort)) });
    return decoderTable(measured, peers);
  } finally {
    await peers.close();
  }
}

function decoderTable(groups: readonly MeasuredGroup[], peers: DecoderPeers): BenchTable {
  const { isa, threads } = loadNative();
  const missing = [...peers.missing(), ...groups.flatMap((group) => group.missing)];
  return {
    title: "Embedded decoder: 4 layers, hidden 128, heads 4:2 of 32, feed-forward 384, vocabulary 512, tied",
    columns: [
      "what",
      "ms",
      "tokens/s",
      "GFLOP/s",
      "CPU ms",
      "tokens per CPU second",
      "GFLOP per CPU second",
      "ms ÷ ours",
      "CPU ÷ ours",
    ],
    rows: groups.flatMap(({ gflop, measured, ours, tokens }) =>
      [...measured.values()].map((one) => {
        const each = (ms: number): (string | number)[] =>
          tokens === 0 ? ["", ""] : [tokens / (ms / 1e3), gflop / (ms / 1e3)];
        const own = measured.get(ours.name);
        const ratio = own === undefined || own === one ? ["", ""] : renderRatio(benchRatio(one, own));
        return [one.name, one.medianMs, ...each(one.medianMs), one.cpuMs, ...each(one.cpuMs), ...ratio];
      }),
    ),
    notes: [
      "GFLOP counts the matrix products of weighted rows and what the causal mask leaves of attention; backward twice forward. Padding of the others is not counted.",
      "Sampling counts fed tokens; each pass samples one token per slot. CPU columns: processor time over all threads.",
      "PyTorch, where it was measured: the same weights and sequences, eager, float32, scaled_dot_product_attention, sequences sorted by length into padded batches, head on weighted rows only; loss and gradient norm equal ours to 0.1 %.",
      `Ours: ${isa()} tier, ${threads()} threads.`,
      ...peers.greetings(),
      ...renderMissing(missing),
    ],
    summary: summary(groups),
  };
}

function summary(groups: readonly MeasuredGroup[]): [string, string, string][] {
  const training = groups[0];
  const sampling = groups.filter(({ ours }) => ours.name.startsWith("sampling"));
  const perCpuSecond = ({ tokens }: MeasuredGroup, { cpuMs }: Measurement): number => (tokens / cpuMs) * 1e3;
  const round = (value: number): string => (Math.round(value / 100) * 100).toLocaleString("en-US");
  const own = (group: MeasuredGroup): number => {
    const found = group.measured.get(group.ours.name);
    return found ? perCpuSecond(group, found) : Number.NaN;
  };
  const peer = (group: MeasuredGroup): number =>
    Math.max(
      ...group.peers.flatMap(({ name }) => {
        const found = group.measured.get(name);
        return found ? [perCpuSecond(group, found)] : [];
      }),
    );
  const range = (values: number[]): string => {
    const [low, high] = [Math.min(...values), Math.max(...values)].map(round);
    return low === high ? low : `${low} to ${high}`;
  };
  const comparison = (those: MeasuredGroup[]): string => {
    const values = those.map(peer).filter((value) => Number.isFinite(value));
    return values.length > 0 ? `PyTorch eager at best ${range(values)}` : "no peer measured";
  };
  return [
    [
      "training the quickstart's decoder (0.85 M parameters)",
      `${range([own(training)])} tokens per CPU second`,
      comparison([training]),
    ],
    [
      `sampling it, ${SLOTS} rollouts at once`,
      `${range(sampling.map(own))} tokens per CPU second`,
      comparison(sampling),
    ],
  ];
}
