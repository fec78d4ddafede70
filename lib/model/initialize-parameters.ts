import { deriveSeed } from "../random/derive-seed.js";
import { philox } from "../random/philox.js";
import type { Parameter } from "./parameter.js";

const STANDARD_DEVIATION = 0.02;

/**
 * Fills parameters as transformers initialises Qwen3: matrices normal(0, 0.02), norm gains 1. The two matrices of a layer that write
 * into the residual stream are scaled by 1/√(2 · layers), so that its variance does not grow with depth (GPT-2). Each value is a
 * function of (seed, parameter, index) alone.
 */
export function initializeParameters(
  parameters: readonly Parameter[],
  numLayers: number,
  seed: number,
): void {
  for (const [index, { name, shape, value }] of parameters.entries()) {
    if (shape.length === 1) {
      value.fill(1);
      continue;
    }
    const residual = name.endsWith(".o_proj.weight") || name.endsWith(".down_proj.weight");
    fillNormal(
      value,
      residual ? STANDARD_DEVIATION / Math.sqrt(2 * numLayers) : STANDARD_DEVIATION,
      deriveSeed(seed, "initialize", index),
    );
  }
}

/** Box-Muller: one block of the counter gives two normal numbers. */
function fillNormal(into: Float32Array, standardDeviation: number, seed: bigint): void {
  const key: [number, number] = [Number(seed & 0xffff_ffffn), Number(seed >> 32n)];
  for (let i = 0; i < into.length; i += 2) {
    const words = philox([i / 2, 0, 0, 0], key);
    // In (0, 1], so that the logarithm is finite.
    const radius = Math.sqrt(-2 * Math.log((words[0] + 1) / 2 ** 32)) * standardDeviation;
    const angle = (2 * Math.PI * words[1]) / 2 ** 32;
    into[i] = radius * Math.cos(angle);
    if (i + 1 < into.length) into[i + 1] = radius * Math.sin(angle);
  }
}
