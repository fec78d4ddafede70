import { afterEach } from "vitest";
import { loadNative } from "../../lib/native/load.js";
import type { IsaName } from "../../lib/native/native-core.js";

const native = loadNative();
const initial = { isa: native.isa(), threads: native.threads() };

/** Tiers to run a test on: every one this machine has. */
export const tiers: IsaName[] = native.supportedIsas();

export function useTier(isa: IsaName, threads = 1): void {
  if (!native.setIsa(isa) || !native.setThreads(threads)) throw new Error(`cannot run ${isa} x ${threads}`);
}

afterEach(() => useTier(initial.isa, initial.threads));

for (const isa of process.arch === "x64" ? (["avx2", "avx512", "avx512bf16"] as const) : [])
  if (!tiers.includes(isa)) console.warn(`NOT VERIFIED: tier ${isa}, which this machine does not have`);
