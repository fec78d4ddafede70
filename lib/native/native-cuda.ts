import type { NativeHostMemory } from "./native-host-memory.js";

/** Device memory: owned, foreign, or a part of either. A job on it keeps it. */
export interface NativeDeviceMemory {
  /** Its address on the device. */
  readonly pointer: bigint;
}

/** A stream made by the addon. */
export interface NativeDeviceStream {
  /** The cudaStream_t. */
  readonly pointer: bigint;
}

/** What CUDA failed with. */
export interface NativeCudaFailure {
  code: number;
  /** For example cudaErrorNoDevice. */
  name: string;
  message: string;
}

/** Of a stream: one made here, the address of another's, or null for the device's default stream. */
type Stream = NativeDeviceStream | bigint | null;

/** The CUDA library, which is opened once for the process; before that everything but `openCuda` throws ERR_CUDA_UNAVAILABLE. */
export interface NativeCuda {
  /** Null when it is open, now or already. */
  openCuda(path: string): [reason: "load-failed" | "abi-mismatch", problem: string] | null;
  /** Versions like 13000 for 13.0; filled as far as known beside an error. */
  probeCuda(): { driver: number; runtime: number; devices: number; error: NativeCudaFailure | null };
  /** computeCapability like 90 for 9.0. */
  describeCuda(device: number): {
    name: string;
    computeCapability: number;
    multiprocessors: number;
    memoryBytes: number;
    freeBytes: number;
    heldBytes: number;
    error: NativeCudaFailure | null;
  };
  createDeviceStream(device: number): NativeDeviceStream;
  /** It goes with the last memory on it. */
  disposeDeviceStream(stream: NativeDeviceStream): void;
  /** Waits for what is queued. */
  synchronizeDevice(device: number, stream: Stream): void;
  /** Zeroed; the garbage collector is told of it. */
  createDeviceMemory(device: number, stream: Stream, bytes: number): NativeDeviceMemory;
  /** Of someone else, never freed here. Throws ERR_UNSUPPORTED when its first or last byte is no memory of that device. */
  foreignDeviceMemory(device: number, stream: Stream, pointer: bigint, bytes: number): NativeDeviceMemory;
  /** A part; gone when the whole is disposed. */
  viewDeviceMemory(memory: NativeDeviceMemory, byteOffset: number, bytes: number): NativeDeviceMemory;
  /** The memory is freed after the last job on it. Of a part: nothing. */
  disposeDeviceMemory(memory: NativeDeviceMemory): void;
  /** Array and memory have the same number of bytes. Waits, as does reading. */
  writeDevice(memory: NativeDeviceMemory, values: Float32Array | Uint16Array): void;
  readDevice(memory: NativeDeviceMemory, out: Float32Array | Uint16Array): void;
  /** Within one device and stream; queued. */
  copyDevice(to: NativeDeviceMemory, from: NativeDeviceMemory): void;
  /** In the one queue of asynchronous calls. `out` lies in `held`, or in a SharedArrayBuffer when that is null. */
  readDeviceAsync(
    memory: NativeDeviceMemory,
    out: Float32Array | Uint16Array,
    held: NativeHostMemory | null,
    done: (code: string | null, message: string) => void,
  ): number;
}
