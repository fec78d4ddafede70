import type { NativeHead } from "../native/native-linear-loss.js";

/** A layer in memory of the host. */
export interface HostHead extends NativeHead {
  hidden: Float32Array | Uint16Array;
  weight: Float32Array | Uint16Array;
}

/** A layer where there is no addon, and so no tensor on a device. */
export const hostHead = (head: NativeHead): HostHead => head as HostHead;
