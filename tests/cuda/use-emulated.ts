import { beforeAll } from "vitest";
import { emulatedLibrary } from "./emulated-library.js";

/** Tests of this file compute on the emulated device, in the process of the file. */
export function useEmulated(): void {
  beforeAll(async () => {
    process.env.ECHO_GRPO_CUDA_LIBRARY = await emulatedLibrary();
  }, 900_000);
}
