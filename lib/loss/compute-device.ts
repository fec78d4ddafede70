/**
 * Where a call computes. `cuda`: arrays of the host are copied to device 0 and what is written is copied back. `auto`: `cuda` where it is available, else
 * `cpu`, which is said once. Default: where the tensors are.
 */
export type ComputeDevice = "auto" | "cpu" | "cuda";
