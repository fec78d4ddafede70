import { ArgumentError } from "../errors/argument-error.js";
import { NativeError } from "../errors/native-error.js";
import type { FloatDtype } from "../floats/float-dtype.js";
import { callNative } from "../native/call-native.js";
import { loadOrFallBack } from "../native/load-or-fall-back.js";
import type { NativeHostMemory } from "../native/native-host-memory.js";
import { dtypeBytes } from "./dtype-bytes.js";
import { hostMemory } from "./host-memory.js";
import { tensorLength } from "./tensor-length.js";

const WHERE = "HostTensor";
/** The longest typed array of Node 20. */
const LARGEST_LENGTH = 2 ** 32 - 1;

function allocate(bytes: number): { buffer: ArrayBufferLike; memory: NativeHostMemory | null } {
  const native = loadOrFallBack();
  const memory = native && callNative(WHERE, () => native.createHostMemory(bytes));
  if (memory) return { buffer: memory.buffer, memory };
  try {
    return { buffer: new SharedArrayBuffer(bytes), memory: null };
  } catch (cause) {
    throw new NativeError(
      "ERR_NATIVE_STATUS",
      `[${WHERE}] there is no memory: expected ${bytes} bytes, got none.`,
      { cause },
    );
  }
}

/**
 * Logits in memory that `echoLossAsync` and `tokenLogprobsAsync` may work on while JavaScript runs: it cannot be moved, and a call that is
 * under way keeps it. 64-byte aligned, zeroed, owned by the addon; where there is none, or where this Node allows no ArrayBuffer over foreign
 * memory, a SharedArrayBuffer.
 *
 * Freed by `dispose`, by `using`, or with the last reference to the tensor and its `data`, whichever comes first; the garbage collector
 * knows its size. `data` can be transferred away like any other view (Node itself refuses to post it to a worker); the tensor is then
 * unusable, a call under way is not disturbed.
 */
export class HostTensor<Dtype extends FloatDtype = "float32"> implements Disposable {
  readonly shape: readonly number[];
  readonly dtype: Dtype;
  /** Elements: the product of `shape`. */
  readonly length: number;
  #data: (Dtype extends "float32" ? Float32Array : Uint16Array) | undefined;

  /**
   * @param shape whole numbers from 1; of logits [T, ld].
   * @param dtype default float32.
   * @throws ArgumentError ERR_INVALID_SHAPE, ERR_INVALID_DTYPE. NativeError ERR_NATIVE_STATUS (no memory), or as `echoLoss` when there is an
   *   addon and it cannot be loaded.
   */
  constructor(shape: readonly number[], dtype: Dtype = "float32" as Dtype) {
    this.length = tensorLength(WHERE, shape, LARGEST_LENGTH);
    const bytes = this.length * dtypeBytes(WHERE, dtype);
    this.shape = Object.freeze([...shape]);
    this.dtype = dtype;
    const { buffer, memory } = allocate(bytes);
    const data = dtype === "float32" ? new Float32Array(buffer) : new Uint16Array(buffer);
    if (memory) hostMemory.set(buffer, memory);
    this.#data = data as typeof this.data;
  }

  /**
   * The elements in row order; bits of 16-bit numbers. Calls take it, or a `subarray` of it, in place of the tensor.
   * @throws ArgumentError ERR_DISPOSED.
   */
  get data(): Dtype extends "float32" ? Float32Array : Uint16Array {
    if (this.#data !== undefined) return this.#data;
    throw new ArgumentError(
      "ERR_DISPOSED",
      `[${WHERE}] the tensor was disposed: expected one that is in use, got [${this.shape.join(", ")}] after dispose(). Dispose it after its last use.`,
    );
  }

  get disposed(): boolean {
    return this.#data === undefined;
  }

  /** Gives the memory back, once no call works on it; views of it become empty (those over a SharedArrayBuffer stay). Again: nothing. */
  dispose(): void {
    const buffer = this.#data?.buffer;
    this.#data = undefined;
    const memory = buffer && hostMemory.get(buffer);
    if (memory === undefined) return;
    const native = loadOrFallBack();
    if (native) callNative(WHERE, () => native.disposeHostMemory(memory));
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
