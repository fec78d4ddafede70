import { NativeError } from "../errors/native-error.js";
import { loadNative } from "../native/load.js";
import type { NativeAddon } from "../native/native-addon.js";
import { cudaStatus } from "./cuda-status.js";

let usable = false;

/**
 * The addon, with CUDA ready to be called.
 * @throws NativeError ERR_CUDA_UNAVAILABLE with the message of `cudaStatus`.
 */
export function requireCuda(where: string): NativeAddon {
  if (!usable) {
    const { available, message } = cudaStatus();
    if (!available)
      throw new NativeError("ERR_CUDA_UNAVAILABLE", `[${where}] CUDA is not available: ${message}`);
    usable = true;
  }
  return loadNative();
}
