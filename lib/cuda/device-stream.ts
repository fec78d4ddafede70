import { ArgumentError } from "../errors/argument-error.js";
import { callNative } from "../native/call-native.js";
import { loadNative } from "../native/load.js";
import type { NativeDeviceStream } from "../native/native-cuda.js";
import { checkDevice } from "./check-device.js";
import { requireCuda } from "./require-cuda.js";

const WHERE = "DeviceStream";

/**
 * A stream of a device: work that is queued on it runs in order, beside that of other streams. It does not wait for the default stream. Destroyed,
 * once its work is done, by `dispose`, by `using`, or with its last reference, but not before the last tensor on it.
 */
export class DeviceStream implements Disposable {
  readonly device: number;
  #stream: NativeDeviceStream | undefined;

  /** @throws ArgumentError ERR_OUT_OF_RANGE, ERR_INVALID_TYPE. NativeError ERR_CUDA_UNAVAILABLE, ERR_CUDA. */
  constructor(device = 0) {
    this.device = checkDevice(WHERE, device);
    const native = requireCuda(WHERE);
    this.#stream = callNative(WHERE, () => native.createDeviceStream(device));
  }

  /** @internal @throws ArgumentError ERR_DISPOSED. */
  get handle(): NativeDeviceStream {
    if (this.#stream !== undefined) return this.#stream;
    throw new ArgumentError(
      "ERR_DISPOSED",
      `[${WHERE}] the stream was disposed: expected one that is in use. Dispose it after its last use.`,
    );
  }

  /** The cudaStream_t, for another library. @throws ArgumentError ERR_DISPOSED. */
  get pointer(): bigint {
    return this.handle.pointer;
  }

  get disposed(): boolean {
    return this.#stream === undefined;
  }

  /** Waits for all work that is queued. @throws ArgumentError ERR_DISPOSED. NativeError ERR_CUDA, also for work that was queued before. */
  synchronize(): void {
    const { handle } = this;
    callNative(WHERE, () => loadNative().synchronizeDevice(this.device, handle));
  }

  /** Again: nothing. */
  dispose(): void {
    const stream = this.#stream;
    this.#stream = undefined;
    if (stream !== undefined) callNative(WHERE, () => loadNative().disposeDeviceStream(stream));
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
