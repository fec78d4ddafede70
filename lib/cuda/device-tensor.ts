import { ArgumentError } from "../errors/argument-error.js";
import type { FloatDtype } from "../floats/float-dtype.js";
import { callNative } from "../native/call-native.js";
import { loadNative } from "../native/load.js";
import type { NativeDeviceMemory } from "../native/native-cuda.js";
import { nativeFailure } from "../native/native-failure.js";
import { dtypeBytes } from "../tensors/dtype-bytes.js";
import { holdMemory } from "../tensors/hold-memory.js";
import { HostTensor } from "../tensors/host-tensor.js";
import { tensorLength } from "../tensors/tensor-length.js";
import { checkHostArray } from "./check-host-array.js";
import type { DevicePlace } from "./device-place.js";
import { requireCuda } from "./require-cuda.js";
import { resolvePlace } from "./resolve-place.js";

const WHERE = "DeviceTensor";
/** Elements that a double counts exactly in bytes. */
const LARGEST_LENGTH = 2 ** 44;

type Host<Dtype> = Dtype extends "float32" ? Float32Array : Uint16Array;

/** Memory that exists already, for the constructor. */
const existing = new WeakMap<DevicePlace, NativeDeviceMemory>();

/**
 * A tensor in the memory of a GPU, for calls that take one in place of a typed array. All work on it is queued on its stream, in order; what
 * returns numbers to the host waits for them.
 *
 * Memory made here is freed by `dispose`, by `using`, or with the last reference, whichever comes first, once no call works on it; the garbage
 * collector knows its size. Foreign memory is never freed.
 */
export class DeviceTensor<Dtype extends FloatDtype = "float32"> implements Disposable {
  readonly shape: readonly number[];
  readonly dtype: Dtype;
  /** Elements: the product of `shape`. */
  readonly length: number;
  readonly device: number;
  /** As it was given; undefined: the device's default stream. */
  readonly stream: DevicePlace["stream"];
  #memory: NativeDeviceMemory | undefined;
  /** Of which this one is a part. */
  #whole: DeviceTensor<FloatDtype> | undefined;

  /**
   * Zeros.
   *
   * @param shape whole numbers from 1; of logits [T, ld].
   * @param dtype default float32.
   * @throws ArgumentError ERR_INVALID_SHAPE, ERR_INVALID_DTYPE, ERR_OUT_OF_RANGE (device), ERR_UNSUPPORTED (a stream of another device), ERR_DISPOSED
   *   (stream). NativeError ERR_CUDA_UNAVAILABLE, ERR_CUDA_OUT_OF_MEMORY, ERR_CUDA (no such device).
   */
  constructor(shape: readonly number[], dtype: Dtype = "float32" as Dtype, place: DevicePlace = {}) {
    this.length = tensorLength(WHERE, shape, LARGEST_LENGTH);
    const bytes = this.length * dtypeBytes(WHERE, dtype);
    const { device, stream, handle } = resolvePlace(WHERE, place);
    this.shape = Object.freeze([...shape]);
    this.dtype = dtype;
    this.device = device;
    this.stream = stream;
    const native = requireCuda(WHERE);
    this.#memory =
      existing.get(place) ?? callNative(WHERE, () => native.createDeviceMemory(device, handle, bytes));
  }

  /**
   * A tensor with the values of an array.
   * @param values of `shape`; bits of 16-bit numbers, whose `dtype` is to be named.
   * @throws as the constructor and `copyFrom`.
   */
  static from<Dtype extends FloatDtype = "float32">(
    values: Host<Dtype>,
    shape: readonly number[],
    dtype: Dtype = "float32" as Dtype,
    place: DevicePlace = {},
  ): DeviceTensor<Dtype> {
    checkHostArray(`${WHERE}.from`, values, dtype, tensorLength(WHERE, shape, LARGEST_LENGTH));
    const tensor = new DeviceTensor(shape, dtype, place);
    tensor.copyFrom(values);
    return tensor;
  }

  /**
   * Memory of another library, which must stay until the last call on it is over. Work of others on it must have been waited for, or be on the
   * same stream.
   *
   * @param memory `ptr`: its address on the device, aligned to the element.
   * @throws as the constructor; ArgumentError ERR_UNSUPPORTED when its first or last byte is not memory of that device, as far as CUDA knows,
   *   ERR_INVALID_TYPE.
   */
  static foreign<Dtype extends FloatDtype = "float32">(
    memory: { ptr: bigint } & DevicePlace,
    shape: readonly number[],
    dtype: Dtype = "float32" as Dtype,
  ): DeviceTensor<Dtype> {
    const where = `${WHERE}.foreign`;
    const size = dtypeBytes(where, dtype);
    const bytes = tensorLength(where, shape, LARGEST_LENGTH) * size;
    const { device, stream, handle } = resolvePlace(where, memory);
    const { ptr } = memory;
    if (typeof ptr !== "bigint" || ptr <= 0n || ptr >= 2n ** 64n || ptr % BigInt(size) !== 0n)
      throw new ArgumentError(
        typeof ptr === "bigint" ? "ERR_OUT_OF_RANGE" : "ERR_INVALID_TYPE",
        `[${where}] ptr is unusable: expected a BigInt, the address of ${dtype} numbers, got ${String(ptr)}.`,
      );
    const native = requireCuda(where);
    const place: DevicePlace = { device, stream };
    existing.set(
      place,
      callNative(where, () => native.foreignDeviceMemory(device, handle, ptr, bytes)),
    );
    return new DeviceTensor(shape, dtype, place);
  }

  /**
   * A part of this tensor's memory as a tensor of its own, for example the first rows. It goes with the whole; disposing it frees nothing.
   * @param begin first element of this tensor.
   * @throws ArgumentError ERR_INVALID_SHAPE, ERR_OUT_OF_RANGE, ERR_DISPOSED.
   */
  view(shape: readonly number[], begin = 0): DeviceTensor<Dtype> {
    const memory = this.memory(WHERE);
    const length = tensorLength(WHERE, shape, this.length);
    if (!Number.isInteger(begin) || begin < 0 || begin + length > this.length)
      throw new ArgumentError(
        "ERR_OUT_OF_RANGE",
        `[${WHERE}] the view does not fit: expected ${length} elements of ${this.length}, got them from ${String(begin)} on.`,
      );
    const size = dtypeBytes(WHERE, this.dtype);
    const place: DevicePlace = { device: this.device, stream: this.stream };
    existing.set(
      place,
      callNative(WHERE, () => loadNative().viewDeviceMemory(memory, begin * size, length * size)),
    );
    const part = new DeviceTensor(shape, this.dtype, place);
    part.#whole = this.#whole ?? this;
    return part;
  }

  /** Its address on the device, for another library. @throws ArgumentError ERR_DISPOSED. */
  get pointer(): bigint {
    return this.memory(WHERE).pointer;
  }

  get disposed(): boolean {
    return this.#memory === undefined || (this.#whole?.disposed ?? false);
  }

  /**
   * Takes the values of an array, which has been read when this returns; or, queued, those of a tensor of the same device and stream.
   * @throws ArgumentError ERR_INVALID_TYPE, ERR_INVALID_DTYPE, ERR_INVALID_SHAPE (length), ERR_DETACHED, ERR_DISPOSED, ERR_UNSUPPORTED (another
   *   device or stream). NativeError ERR_CUDA.
   */
  copyFrom(values: Host<Dtype> | DeviceTensor<Dtype>): void {
    const where = `${WHERE}.copyFrom`;
    const memory = this.memory(where);
    if (!(values instanceof DeviceTensor)) {
      const array = checkHostArray(where, values, this.dtype, this.length);
      callNative(where, () => loadNative().writeDevice(memory, array));
      return;
    }
    if (values.dtype !== this.dtype || values.length !== this.length)
      throw new ArgumentError(
        values.length === this.length ? "ERR_INVALID_DTYPE" : "ERR_INVALID_SHAPE",
        `[${where}] the tensors differ: expected ${this.length} ${this.dtype}, got ${values.length} ${values.dtype}.`,
      );
    const from = values.memory(where);
    callNative(where, () => loadNative().copyDevice(memory, from));
  }

  /** Writes the values into an array, after all work that is queued. @throws as `copyFrom`. */
  copyTo(values: Host<Dtype>): void {
    const where = `${WHERE}.copyTo`;
    const memory = this.memory(where);
    const array = checkHostArray(where, values, this.dtype, this.length);
    callNative(where, () => loadNative().readDevice(memory, array));
  }

  /** The values in memory of the host, after all work that is queued. @throws as `copyTo` and `new HostTensor`. */
  toHost(): HostTensor<Dtype> {
    this.memory(`${WHERE}.toHost`);
    const host = new HostTensor(this.shape, this.dtype);
    this.copyTo(host.data as Host<Dtype>);
    return host;
  }

  /**
   * `copyTo` in the one queue of asynchronous calls, after those that were made before.
   * @param values over a SharedArrayBuffer, or of a HostTensor; neither to be read nor written until the promise settles.
   * @throws (rejects) as `copyTo`, and ArgumentError ERR_UNSUPPORTED for memory that a transfer could take away.
   */
  async copyToAsync(values: Host<Dtype>): Promise<void> {
    const where = `${WHERE}.copyToAsync`;
    const memory = this.memory(where);
    const array = checkHostArray(where, values, this.dtype, this.length);
    const held = holdMemory(where, "values", array);
    await new Promise<void>((resolve, reject) => {
      const done = (code: string | null, message: string): void =>
        code === null ? resolve() : reject(nativeFailure(where, code, message));
      callNative(where, () => loadNative().readDeviceAsync(memory, array, held, done));
    });
  }

  /** `toHost` in the one queue of asynchronous calls. @throws (rejects) as `toHost`. */
  async toHostAsync(): Promise<HostTensor<Dtype>> {
    this.memory(`${WHERE}.toHostAsync`);
    const host = new HostTensor(this.shape, this.dtype);
    await this.copyToAsync(host.data as Host<Dtype>);
    return host;
  }

  /** Gives the memory back, once no call works on it. Again: nothing. */
  dispose(): void {
    const memory = this.#memory;
    this.#memory = undefined;
    if (memory !== undefined) callNative(WHERE, () => loadNative().disposeDeviceMemory(memory));
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** @internal What the addon takes. @throws ArgumentError ERR_DISPOSED. */
  memory(where: string): NativeDeviceMemory {
    if (this.#memory !== undefined && !this.disposed) return this.#memory;
    throw new ArgumentError(
      "ERR_DISPOSED",
      `[${where}] the tensor was disposed: expected one that is in use, got [${this.shape.join(", ")}] after dispose(). Dispose it after its last use.`,
    );
  }
}
