import { ArgumentError } from "../errors/argument-error.js";
import type { NativeDeviceStream } from "../native/native-cuda.js";
import { checkDevice } from "./check-device.js";
import type { DevicePlace } from "./device-place.js";
import { DeviceStream } from "./device-stream.js";

/**
 * A place with its defaults, and the stream as the addon takes it.
 * @throws ArgumentError ERR_OUT_OF_RANGE, ERR_INVALID_TYPE, ERR_UNSUPPORTED (a stream of another device), ERR_DISPOSED (stream).
 */
export function resolvePlace(
  where: string,
  { device, stream }: DevicePlace,
): { device: number; stream: DevicePlace["stream"]; handle: NativeDeviceStream | bigint | null } {
  if (stream === undefined) return { device: checkDevice(where, device ?? 0), stream, handle: null };
  if (stream instanceof DeviceStream) {
    const chosen = checkDevice(where, device ?? stream.device);
    if (chosen === stream.device) return { device: chosen, stream, handle: stream.handle };
    throw new ArgumentError(
      "ERR_UNSUPPORTED",
      `[${where}] the stream is one of another device: expected one of device ${chosen}, got one of device ${stream.device}.`,
    );
  }
  if (typeof stream === "bigint" && stream >= 0n && stream < 2n ** 64n)
    return { device: checkDevice(where, device ?? 0), stream, handle: stream };
  throw new ArgumentError(
    "ERR_INVALID_TYPE",
    `[${where}] stream is unusable: expected a DeviceStream, or a cudaStream_t as a BigInt, got ${String(stream)}.`,
  );
}
