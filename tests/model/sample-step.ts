import type { NativeSampler } from "../../lib/native/native-model.js";

/** One step of the sampler; entries in the order given. */
export function sampleStep(
  sampler: NativeSampler,
  entries: { slot: number; tokens: number[]; seed: bigint }[],
  temperature: number,
): { ids: Int32Array; logprobs: Float32Array } {
  const ids = new Int32Array(entries.length);
  const logprobs = new Float32Array(entries.length);
  sampler.step(
    Int32Array.from(entries, ({ slot }) => slot),
    Int32Array.from(entries, ({ tokens }) => tokens.length),
    Int32Array.from(entries.flatMap(({ tokens }) => tokens)),
    BigUint64Array.from(entries, ({ seed }) => seed),
    temperature,
    ids,
    logprobs,
  );
  return { ids, logprobs };
}
