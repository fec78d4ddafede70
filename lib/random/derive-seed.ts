import { philox } from "./philox.js";

/**
 * A 64-bit seed for one purpose: the same arguments give the same seed on every machine, different ones unrelated seeds.
 * `indices` are non-negative integers (step, task, rollout, ...).
 */
export function deriveSeed(seed: number, purpose: string, ...indices: number[]): bigint {
  let low = seed >>> 0;
  let high = Math.floor(seed / 0x1_0000_0000) >>> 0;
  const absorb = (a: number, b: number, kind: number): void => {
    const words = philox([a >>> 0, b >>> 0, kind, 0], [low, high]);
    low = words[0];
    high = words[1];
  };
  for (let i = 0; i < purpose.length; i++) absorb(purpose.charCodeAt(i), i, 1);
  for (const [i, index] of indices.entries()) absorb(index, i, 2);
  return (BigInt(high) << 32n) | BigInt(low);
}
