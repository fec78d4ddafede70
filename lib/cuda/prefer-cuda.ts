import { cudaStatus } from "./cuda-status.js";

let decided: boolean | undefined;

/** What `device: "auto"` comes to; decided, and said where it is the CPU, by the first call of the process. */
export function preferCuda(): boolean {
  if (decided !== undefined) return decided;
  const { available, message } = cudaStatus();
  decided = available;
  if (!available)
    process.emitWarning(`[cuda] device "auto" computes on the CPU: ${message}`, {
      type: "EchoGrpoWarning",
      code: "WARN_CUDA_UNAVAILABLE",
    });
  return decided;
}
