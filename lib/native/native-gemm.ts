/** The decoder's float32 matrix product by itself. All matrices are row-major; the thread pool is used. */
export interface NativeGemm {
  /** Floats of a packed [k, n] matrix on the active tier. */
  gemmPackedSize(k: number, n: number): number;
  /** Packs B [k, n]; `transposed`: from a source [n, k]. */
  gemmPack(source: Float32Array, transposed: boolean, k: number, n: number, packed: Float32Array): void;
  /**
   * C [m, n] = A B, or C += A B with `accumulate`. A is [m, k], or [k, m] with `aTransposed`; B is [k, n] or packed.
   * Every element of C is one chain over k.
   */
  gemm(
    m: number,
    n: number,
    k: number,
    a: Float32Array,
    aTransposed: boolean,
    b: Float32Array,
    bPacked: boolean,
    c: Float32Array,
    accumulate: boolean,
  ): void;
}
