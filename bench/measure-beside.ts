import { setTimeout } from "node:timers/promises";
import type { MeasuredCase, Measurement, MeasureOptions } from "./measure.js";
import type { MissingPeer } from "./peers/missing-peer.js";
import type { Peer } from "./peers/peer.js";
import { type Sample, sample } from "./sample.js";
import { summarize } from "./summarize.js";

/** Something that a peer times when it is asked. */
export interface PeerCase {
  name: string;
  peer: Peer;
  /** What the peer is to prepare: `what` and its arguments. */
  request: Record<string, unknown>;
  /** Given what the peer computed; throws when it is wrong: wrong numbers are not worth timing. */
  check?(computed: Record<string, unknown>): void;
  /** Seconds for making it ready, one call included. Default 120. */
  prepareLimitS?: number;
}

export type Beside = { measured: Map<string, Measurement>; missing: MissingPeer[] };

/** A sample is the mean over at least so many seconds of calls, as in the library that times our side. */
const MIN_SAMPLE_S = 0.05;
/** Threads of the one before go on spinning for a while after their work. */
const PAUSE_MS = 20;
const ROUND_LIMIT_S = 120;

/**
 * As `measure`, with peers among the cases: within every round ours and theirs take turns. A peer that fails is left out and named; one of
 * ours that fails throws.
 */
export async function measureBeside(
  cases: readonly (MeasuredCase | PeerCase)[],
  options: MeasureOptions = {},
): Promise<Beside> {
  const { rounds = 3, minSamples = 8, maxTimeS = 0.5 } = options;
  const missing = new Map<MeasuredCase | PeerCase, MissingPeer>();
  const samples = new Map(cases.map((one) => [one, [] as Sample[]]));
  const attempt = async (one: PeerCase, work: () => Promise<void>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      missing.set(one, { name: one.name, why: (error as Error).message });
    }
  };
  for (const one of cases)
    if (isOfPeer(one))
      await attempt(one, async () => {
        const request = { ...one.request, do: "prepare", case: one.name };
        const computed = await one.peer.ask(request, one.prepareLimitS ?? 120);
        one.check?.(computed);
      });
  for (let round = 0; round < rounds; round++)
    for (let turn = 0; turn < cases.length; turn++) {
      const one = cases[(turn + round) % cases.length];
      if (missing.has(one)) continue;
      await setTimeout(PAUSE_MS);
      if (isOfPeer(one))
        await attempt(one, async () => {
          const request = {
            do: "measure",
            case: one.name,
            minSamples,
            maxTimeS,
            minSampleS: MIN_SAMPLE_S,
          };
          const { samplesMs, cpuMs } = await one.peer.ask(request, ROUND_LIMIT_S);
          samples.get(one)?.push({ samplesMs, cpuMs } as Sample);
        });
      else samples.get(one)?.push(sample(one, { rounds, minSamples, maxTimeS }));
    }
  for (const one of cases)
    if (isOfPeer(one)) await one.peer.ask({ do: "drop", case: one.name }, ROUND_LIMIT_S).catch(() => {});
  const measured = cases.filter((one) => !missing.has(one));
  return {
    measured: new Map(measured.map((one) => [one.name, summarize(one.name, samples.get(one) ?? [])])),
    missing: [...missing.values()],
  };
}

function isOfPeer(one: MeasuredCase | PeerCase): one is PeerCase {
  return "peer" in one;
}
