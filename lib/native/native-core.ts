/** Instruction-set tier of the native kernels. */
export type IsaName = "scalar" | "avx2" | "avx512" | "avx512bf16" | "neon";

/** Process-wide settings of the addon. */
export interface NativeCore {
  /** Must equal the number `load.ts` expects. */
  readonly abiVersion: number;
  /** The tier in use. */
  isa(): IsaName;
  /** Tiers this machine can run, slowest first. */
  supportedIsas(): IsaName[];
  /** False, and nothing changes, when this machine cannot run the tier. */
  setIsa(name: IsaName): boolean;
  /** Worker threads, the caller included. */
  threads(): number;
  /**
   * Whole number from 1 to 256; false, and nothing changes, otherwise. Waits for an asynchronous job that runs; not to be called while
   * another thread is in a native call.
   */
  setThreads(threads: number): boolean;
}
