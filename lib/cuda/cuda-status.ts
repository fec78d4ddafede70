import { findCudaLibrary } from "../native/find-cuda-library.js";
import { loadNative } from "../native/load.js";
import type { NativeAddon } from "../native/native-addon.js";
import { packageRoot } from "../native/package-root.js";
import type { CudaDevice } from "./cuda-device.js";

/** Whether CUDA can be used, and if not, why. */
export interface CudaStatus {
  available: boolean;
  reason:
    | "available"
    | "no-library"
    | "no-driver"
    | "driver-too-old"
    | "no-device"
    | "abi-mismatch"
    | "load-failed";
  /** For a person: what was found, or what is missing and what to do. */
  message: string;
  /** "13.0": the newest CUDA the installed driver can serve. Absent without a driver, or where the library is not open. */
  driverVersion?: string;
  /** "13.0": the CUDA the library was built with. */
  runtimeVersion?: string;
  /** Those of compute capability 8.0 or newer. */
  devices: CudaDevice[];
}

const OLDEST_CAPABILITY = 80;
const INSUFFICIENT_DRIVER = "cudaErrorInsufficientDriver";
const version = (number: number): string =>
  `${Math.floor(number / 1000)}.${Math.floor((number % 1000) / 10)}`;

function unavailable(
  reason: CudaStatus["reason"],
  message: string,
  versions: Pick<CudaStatus, "driverVersion" | "runtimeVersion"> = {},
): CudaStatus {
  return { available: false, reason, message, ...versions, devices: [] };
}

function addon(): NativeAddon | string {
  if (process.env.ECHO_GRPO_FALLBACK === "1")
    return "ECHO_GRPO_FALLBACK is 1, so there is no addon to call it.";
  try {
    return loadNative();
  } catch (error) {
    return (error as Error).message;
  }
}

/** The devices that kernels were compiled for, and what was said of the others. */
function usableDevices(native: NativeAddon, count: number): { devices: CudaDevice[]; others: string[] } {
  const devices: CudaDevice[] = [];
  const others: string[] = [];
  for (let index = 0; index < count; index++) {
    const { error, computeCapability, ...rest } = native.describeCuda(index);
    const capability = (computeCapability / 10).toFixed(1);
    if (error !== null) others.push(`device ${index}: ${error.name}: ${error.message}`);
    else if (computeCapability < OLDEST_CAPABILITY)
      others.push(`device ${index}: ${rest.name} is of compute capability ${capability}`);
    else devices.push({ index, ...rest, computeCapability: capability });
  }
  return { devices, others };
}

/**
 * Opens the CUDA library if that has not happened yet, and asks the driver what there is. Never throws. Describing a device makes CUDA start
 * there, which takes some of its memory.
 */
export function cudaStatus(): CudaStatus {
  const found = findCudaLibrary();
  if (!("path" in found)) return unavailable(found.reason, found.message);
  const native = addon();
  if (typeof native === "string")
    return unavailable(
      "load-failed",
      `the native addon, which opens the CUDA library, is not usable: ${native}`,
    );
  const failure = native.openCuda(found.path);
  if (failure !== null) {
    const [reason, problem] = failure;
    return unavailable(
      reason,
      reason === "abi-mismatch"
        ? `${found.path} does not fit this package: ${problem}. Build it again with \`npm run build:cuda\` in ${packageRoot()}.`
        : `${found.path} does not load: ${problem}. Build it on this machine with \`npm run build:cuda\` in ${packageRoot()}.`,
    );
  }
  const { driver, runtime, devices: count, error } = native.probeCuda();
  const versions = {
    ...(driver > 0 ? { driverVersion: version(driver) } : {}),
    runtimeVersion: version(runtime),
  };
  if (error?.name === INSUFFICIENT_DRIVER)
    return driver === 0
      ? unavailable(
          "no-driver",
          `there is no NVIDIA driver: expected one for CUDA ${version(runtime)}, found no libcuda.so.1. Install the driver; in a container, start it with access to the GPUs.`,
          versions,
        )
      : unavailable(
          "driver-too-old",
          `the NVIDIA driver is too old: expected one for CUDA ${version(runtime)}, got one for ${version(driver)}. Update the driver, or build the library with an older toolkit.`,
          versions,
        );
  if (error !== null && error.name !== "cudaErrorNoDevice")
    return unavailable("load-failed", `CUDA does not start: ${error.name}: ${error.message}.`, versions);
  const { devices, others } = usableDevices(native, count);
  if (devices.length === 0)
    return unavailable(
      "no-device",
      `there is no device that can be used: expected one of compute capability 8.0 or newer, got ${others.join("; ") || "none at all. See nvidia-smi and CUDA_VISIBLE_DEVICES"}.`,
      versions,
    );
  const names = devices.map(({ index, name }) => `${name} (device ${index})`);
  return {
    available: true,
    reason: "available",
    message: `CUDA ${version(runtime)} on ${names.join(", ")}.`,
    ...versions,
    devices,
  };
}
