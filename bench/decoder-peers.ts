import type { NativeDecoder } from "../lib/native/native-model.js";
import { createDecoder, DECODER, type trainingBatch } from "./decoder-batch.js";
import type { PeerCase } from "./measure-beside.js";
import type { MissingPeer } from "./peers/missing-peer.js";
import type { OpenPeer } from "./peers/open-peer.js";
import { openTorch } from "./peers/open-torch.js";
import { renderGreeting } from "./peers/render-greeting.js";

/** Sequences in one padded batch. */
const PADDED = { "heap warm": [16, 64], "default allocator": [64] };
/** Relative, of float32 results that other orders of addition lead to. */
const TOLERANCE = 1e-3;

type Heap = keyof typeof PADDED;

/** The same architecture in PyTorch, with the same weights. */
export class DecoderPeers {
  private readonly opened: Map<Heap, OpenPeer | MissingPeer>;

  private constructor(opened: Map<Heap, OpenPeer | MissingPeer>) {
    this.opened = opened;
  }

  static async open(threads: number): Promise<DecoderPeers> {
    return new DecoderPeers(
      new Map<Heap, OpenPeer | MissingPeer>([
        ["heap warm", await openTorch("warm", threads)],
        ["default allocator", await openTorch("default", threads)],
      ]),
    );
  }

  missing(): MissingPeer[] {
    return [...this.opened.values()].filter((one) => !("peer" in one)) as MissingPeer[];
  }

  greetings(): string[] {
    return [...new Set(this.open().map(([, { greeting }]) => renderGreeting(greeting)))];
  }

  /** Training on `batch`, in padded batches; what it computes must be the same as ours. */
  training(batch: ReturnType<typeof trainingBatch>): PeerCase[] {
    const decoder = createDecoder();
    const { policyLoss, observationLoss } = decoder.forwardBackward(
      batch.ids,
      batch.cuSeqLens,
      batch.rows,
      batch.options,
    );
    const squares = decoder.parameters().flatMap(({ grad }) => grad.reduce((sum, g) => sum + g * g, 0));
    const norm = Math.sqrt(squares.reduce((sum, square) => sum + square, 0));
    const { actionWeights, observationWeights, targets } = batch.rows;
    const request = {
      what: "training",
      ...model(decoder),
      cuSeqLens: [...batch.cuSeqLens],
      ids: [...batch.ids],
      targets: [...targets],
      actionWeights: [...actionWeights],
      observationWeights: [...observationWeights],
    };
    return this.open().flatMap(([heap, { peer }]) =>
      PADDED[heap].map((size) => ({
        name: `PyTorch eager, batches of ${size}, ${heap}`,
        peer,
        request: { ...request, batch: size },
        check: ({ gradientNorm, loss }: Record<string, unknown>) => {
          mustBe("loss", Number(loss), policyLoss + observationLoss);
          mustBe("gradient norm", Number(gradientNorm), norm);
        },
      })),
    );
  }

  /** Sampling with a key-value cache; the first log-probability that ours returned must be among what it computes. */
  sampling(
    decoder: NativeDecoder,
    batch: { slots: number; length: number; count: number; tokens: Int32Array },
    sampled: { id: number; logprob: number },
  ): PeerCase[] {
    const { count, length, slots, tokens } = batch;
    const warm = this.open().filter(([heap]) => heap === "heap warm");
    return warm.map(([heap, { peer }]) => ({
      name: `PyTorch eager with a key-value cache, ${count} new each pass, ${heap}`,
      peer,
      request: { what: "sampling", ...model(decoder), batch: slots, length, count, tokens: [...tokens] },
      check: ({ firstLogprobs }: Record<string, unknown>) =>
        mustBe("log-probability", (firstLogprobs as number[])[sampled.id], sampled.logprob),
    }));
  }

  async close(): Promise<void> {
    for (const [, { peer }] of this.open()) await peer.close();
  }

  private open(): [Heap, OpenPeer][] {
    return [...this.opened].filter((entry): entry is [Heap, OpenPeer] => "peer" in entry[1]);
  }
}

function model(decoder: NativeDecoder): Record<string, unknown> {
  const parameters = decoder.parameters().map(({ name, shape, value }) => {
    const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    return [name, shape, bytes.toString("base64")];
  });
  return { config: DECODER, parameters };
}

function mustBe(what: string, got: number, expected: number): void {
  if (!(Math.abs(got - expected) <= TOLERANCE * Math.abs(expected)))
    throw new Error(`it computes something else (${what}: expected ${expected}, got ${got})`);
}
