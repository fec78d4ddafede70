/** Memory of the addon's own, zeroed and 64-byte aligned, with an ArrayBuffer over it. A job on it keeps it whatever becomes of either. */
export interface NativeHostMemory {
  readonly buffer: ArrayBuffer;
}
