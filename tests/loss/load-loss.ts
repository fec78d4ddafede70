import { vi } from "vitest";

/** `echo-grpo/loss` in a module graph of its own, which computes with the addon or without it. */
export type LoadedLoss = typeof import("../../lib/loss/index.js");

export async function loadLoss(mode: "with the addon" | "in TypeScript"): Promise<LoadedLoss> {
  vi.resetModules();
  vi.stubEnv("ECHO_GRPO_FALLBACK", mode === "in TypeScript" ? "1" : "0");
  const loss = await import("../../lib/loss/index.js");
  const { loadOrFallBack } = await import("../../lib/native/load-or-fall-back.js");
  // The first call of a graph decides.
  if ((loadOrFallBack() === undefined) !== (mode === "in TypeScript"))
    throw new Error(`does not compute ${mode}`);
  vi.unstubAllEnvs();
  return loss;
}
