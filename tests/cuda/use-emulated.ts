import { beforeAll } from "vitest";
import { emulatedLibrary } from "./emulated-library.js";

/**
 * Tests of this file compute on the emulated device, in the process of the file; or on the device of the library that
 * `ECHO_GRPO_CUDA_LIBRARY` names.
 * @returns whether the device is emulated.
 */
export function useEmulated(): boolean {
  const emulated = !process.env.ECHO_GRPO_CUDA_LIBRARY;
  if (emulated)
    beforeAll(async () => {
      process.env.ECHO_GRPO_CUDA_LIBRARY = await emulatedLibrary();
    }, 900_000);
  return emulated;
}
