import { ArgumentError } from "../errors/argument-error.js";

const LARGEST_DEVICE = 1023;

/** The number of a device; whether there is one, CUDA says. @throws ArgumentError ERR_OUT_OF_RANGE, ERR_INVALID_TYPE. */
export function checkDevice(where: string, device: number): number {
  if (Number.isInteger(device) && device >= 0 && device <= LARGEST_DEVICE) return device;
  throw new ArgumentError(
    typeof device === "number" ? "ERR_OUT_OF_RANGE" : "ERR_INVALID_TYPE",
    `[${where}] device is unusable: expected the number of a device, from 0, got ${String(device)}. See cudaStatus().`,
  );
}
