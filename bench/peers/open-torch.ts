import { join } from "node:path";
import type { MissingPeer } from "./missing-peer.js";
import { type OpenPeer, openPeer } from "./open-peer.js";

/** Memory that is freed stays with the process: no page is asked of the kernel, and cleared by it, again and again. */
const WARM_HEAP = {
  MALLOC_MMAP_MAX_: "0",
  MALLOC_TRIM_THRESHOLD_: String(2 ** 40),
  MALLOC_TOP_PAD_: String(2 ** 28),
};

/** A process with PyTorch, on as many threads as ours; `warm`: its heap is reused. */
export async function openTorch(
  heap: "default" | "warm",
  threads: number,
  python: string | undefined = process.env.ECHO_GRPO_PYTHON,
): Promise<OpenPeer | MissingPeer> {
  const name = "PyTorch";
  if (python === undefined || python === "")
    return { name, why: "ECHO_GRPO_PYTHON is not set; it names a Python with torch" };
  const count = String(threads);
  return openPeer(
    name,
    {
      command: python,
      args: ["-u", join(import.meta.dirname, "torch_peer.py")],
      environment: {
        OMP_NUM_THREADS: count,
        MKL_NUM_THREADS: count,
        PYTHONDONTWRITEBYTECODE: "1",
        ...(heap === "warm" ? WARM_HEAP : {}),
      },
    },
    threads,
  );
}
