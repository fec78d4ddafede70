import type { DeviceStream } from "./device-stream.js";

/** Where a tensor lies and in which order its work is done. */
export interface DevicePlace {
  /** Default: that of the stream, else 0. */
  device?: number;
  /** A stream made here, or the cudaStream_t of another library, which must outlive the tensor. Default: the device's default stream. */
  stream?: DeviceStream | bigint;
}
