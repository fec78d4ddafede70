import type { HostHead } from "./host-head.js";
import { widenLogits } from "./widen-logits.js";

/** What the layer has for token v, [D] as float32. */
export function weightRow({ weight, weightDtype, width }: HostHead, v: number): Float32Array {
  return widenLogits(weight.subarray(v * width, (v + 1) * width), weightDtype);
}
